//! Which fields are wanted.

use std::sync::Arc;

/// The paths that live filters use, as a tree of names.
///
/// The i-th path has the i-th slot. Built when the filters change, read for every event; cloning is one
/// pointer. An extractor remembers what it learnt for one plan at a time: a set of filters has one.
#[derive(Clone, Debug)]
pub(crate) struct Plan(Arc<Tree>);

#[derive(Debug, PartialEq, Eq)]
struct Tree {
    /// The event itself is the first.
    nodes: Vec<Node>,
    slots: usize,
}

/// One name of the tree.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Node {
    name: Box<str>,
    /// Where its value goes, if a path ends here.
    pub(super) slot: Option<u32>,
    /// Numbers of the nodes below it, by name.
    pub(super) children: Vec<u32>,
}

impl Plan {
    /// A plan for `paths`, outermost name first, no path twice. The empty path is the event itself.
    pub(crate) fn new<'p>(paths: impl IntoIterator<Item = &'p [Box<str>]>) -> Self {
        let mut tree = Tree {
            nodes: vec![Node::default()],
            slots: 0,
        };
        for path in paths {
            let mut at = 0;
            for name in path {
                at = tree.place(at, name).unwrap_or_else(|place| {
                    let child = tree.nodes.len();
                    tree.nodes.push(Node {
                        name: name.clone(),
                        ..Node::default()
                    });
                    tree.nodes[at].children.insert(place, child as u32);
                    child
                });
            }
            debug_assert!(tree.nodes[at].slot.is_none(), "a path stands there twice");
            tree.nodes[at].slot = Some(tree.slots as u32);
            tree.slots += 1;
        }
        Self(Arc::new(tree))
    }

    /// How many slots there are.
    pub(crate) fn len(&self) -> usize {
        self.0.slots
    }

    /// Whether it is a clone of the other.
    pub(super) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Whether it has the same slots for the same paths.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        self.0 == other.0
    }

    pub(super) fn nodes(&self) -> usize {
        self.0.nodes.len()
    }

    pub(super) fn node(&self, at: usize) -> &Node {
        &self.0.nodes[at]
    }

    /// The node called `name` below `at`.
    pub(super) fn child(&self, at: usize, name: &str) -> Option<usize> {
        self.0.place(at, name).ok()
    }
}

impl Tree {
    /// The node called `name` below `at`, or where it belongs among the children.
    fn place(&self, at: usize, name: &str) -> Result<usize, usize> {
        let children = &self.nodes[at].children;
        children
            .binary_search_by(|&child| (*self.nodes[child as usize].name).cmp(name))
            .map(|place| children[place] as usize)
    }
}
