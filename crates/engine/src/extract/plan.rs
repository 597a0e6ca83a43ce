//! Which fields are wanted.

/// The paths that live filters use, as a tree of names.
///
/// The i-th path has the i-th slot. Built when the filters change, read for every event.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// The event itself is the first; parents come before their children.
    nodes: Vec<Node>,
    slots: usize,
}

/// One name of the tree.
#[derive(Clone, Debug, Default)]
pub(super) struct Node {
    pub(super) name: Box<str>,
    /// Where its value goes, if a path ends here.
    pub(super) slot: Option<u32>,
    /// Numbers of the nodes below it.
    pub(super) children: Vec<u32>,
}

impl Plan {
    /// A plan for `paths`, outermost name first, no path twice. The empty path is the event itself.
    pub(crate) fn new<'p>(paths: impl IntoIterator<Item = &'p [Box<str>]>) -> Self {
        let mut plan = Self {
            nodes: vec![Node::default()],
            slots: 0,
        };
        for path in paths {
            let mut at = 0;
            for name in path {
                at = plan.child(at, name).unwrap_or_else(|| plan.add(at, name));
            }
            debug_assert!(plan.nodes[at].slot.is_none(), "a path stands there twice");
            plan.nodes[at].slot = Some(number(plan.slots));
            plan.slots += 1;
        }
        plan
    }

    /// How many slots there are.
    pub(crate) fn len(&self) -> usize {
        self.slots
    }

    pub(super) fn node(&self, at: usize) -> &Node {
        &self.nodes[at]
    }

    /// The node called `name` below `at`.
    pub(super) fn child(&self, at: usize, name: &str) -> Option<usize> {
        self.nodes[at]
            .children
            .iter()
            .map(|&child| child as usize)
            .find(|&child| *self.nodes[child].name == *name)
    }

    fn add(&mut self, parent: usize, name: &str) -> usize {
        let at = self.nodes.len();
        self.nodes.push(Node {
            name: name.into(),
            ..Node::default()
        });
        self.nodes[parent].children.push(number(at));
        at
    }
}

/// Nodes and slots are fewer than the bytes of all filters in memory.
fn number(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}
