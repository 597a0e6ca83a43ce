//! The fields that filters ask for, numbered.

use std::collections::HashMap;

use crate::extract::Plan;

/// Paths to slots. Only ever grows, so that what was compiled with it stays right.
#[derive(Clone, Debug, Default)]
pub(crate) struct Paths {
    slots: HashMap<Box<[Box<str>]>, usize>,
    /// By slot.
    paths: Vec<Box<[Box<str>]>>,
}

impl Paths {
    /// The slot of a path, which is made if need be.
    pub(super) fn slot(&mut self, path: &[&str]) -> usize {
        let path: Box<[Box<str>]> = path.iter().map(|&name| name.into()).collect();
        if let Some(&slot) = self.slots.get(&path) {
            return slot;
        }
        let slot = self.paths.len();
        self.paths.push(path.clone());
        self.slots.insert(path, slot);
        slot
    }

    pub(crate) fn len(&self) -> usize {
        self.paths.len()
    }

    pub(crate) fn plan(&self) -> Plan {
        Plan::new(self.paths.iter().map(AsRef::as_ref))
    }
}
