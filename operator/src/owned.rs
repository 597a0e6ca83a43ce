//! What the operator made, as it stood when it was read last: a look at a pipeline that rests asks the API server for none
//! of it.
//!
//! # Guarantees
//! - An object is answered from here only in the version that the watch of its kind told last. One that is gone, or that
//!   no watch has told of, is asked for.
//! - It was read within [`READ_AGAIN`], so that a watch which missed something is made good.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use kube::core::{DynamicObject, PartialObjectMeta};
use kube::runtime::watcher::Event;
use kube::{Api, Resource, ResourceExt};
use parking_lot::Mutex;

/// Objects are read again after this, whatever watches say.
const READ_AGAIN: Duration = Duration::from_secs(600);

/// Namespace and name.
type Key = (String, String);

/// By kind. Only of kinds that are watched, and as many as there are of these.
#[derive(Debug, Default)]
pub struct Owned {
    kinds: Mutex<HashMap<String, Kind>>,
}

#[derive(Debug, Default)]
struct Kind {
    /// As the watch tells.
    versions: HashMap<Key, String>,
    read: HashMap<Key, (Instant, DynamicObject)>,
}

impl Owned {
    /// The watch of a kind, in `namespace` or everywhere, tells of something.
    pub fn told<K>(&self, namespace: Option<&str>, event: &Event<PartialObjectMeta<K>>)
    where
        K: Resource<DynamicType = ()>,
    {
        let mut kinds = self.kinds.lock();
        let kind = kinds.entry(K::kind(&()).into_owned()).or_default();
        match event {
            // What is gone is not told of when a watch is begun again.
            Event::Init => kind
                .versions
                .retain(|(of, _), _| namespace.is_some_and(|namespace| namespace != of)),
            Event::InitApply(object) | Event::Apply(object) => {
                let version = object.resource_version().unwrap_or_default();
                kind.versions.insert(key(object), version);
            }
            Event::Delete(object) => {
                kind.versions.remove(&key(object));
                kind.read.remove(&key(object));
            }
            Event::InitDone => {
                let Kind { versions, read } = kind;
                read.retain(|key, _| versions.contains_key(key));
            }
        }
    }

    /// The object as it stands, `None` when there is none.
    ///
    /// # Errors
    /// When the API server refuses or does not answer.
    pub async fn get(
        &self,
        api: &Api<DynamicObject>,
        kind: &str,
        namespace: &str,
        name: &str,
    ) -> Result<Option<DynamicObject>, kube::Error> {
        let key = (namespace.to_owned(), name.to_owned());
        if let Some(known) = self.known(kind, &key) {
            return Ok(Some(known));
        }
        let found = api.get_opt(name).await?;
        if let Some(found) = &found {
            self.keep(kind, key, found);
        }
        Ok(found)
    }

    fn known(&self, kind: &str, key: &Key) -> Option<DynamicObject> {
        let kinds = self.kinds.lock();
        let kind = kinds.get(kind)?;
        let (at, object) = kind.read.get(key)?;
        let current = kind.versions.get(key) == object.metadata.resource_version.as_ref();
        (current && at.elapsed() < READ_AGAIN).then(|| object.clone())
    }

    fn keep(&self, kind: &str, key: Key, found: &DynamicObject) {
        let mut kinds = self.kinds.lock();
        // Only what is watched is forgotten again.
        if let Some(kind) = kinds.get_mut(kind)
            && kind.versions.contains_key(&key)
        {
            let mut object = found.clone();
            object.metadata.managed_fields = None;
            kind.read.insert(key, (Instant::now(), object));
        }
    }
}

fn key(object: &impl ResourceExt) -> Key {
    (object.namespace().unwrap_or_default(), object.name_any())
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::apps::v1::Deployment;
    use serde_json::json;

    use super::*;

    fn meta(namespace: &str, name: &str, version: &str) -> PartialObjectMeta<Deployment> {
        let meta = json!({
            "apiVersion": "meta.k8s.io/v1",
            "kind": "PartialObjectMetadata",
            "metadata": {"namespace": namespace, "name": name, "resourceVersion": version},
        });
        serde_json::from_value(meta).unwrap()
    }

    fn read(owned: &Owned, namespace: &str, name: &str, version: &str) {
        let object =
            json!({"metadata": {"namespace": namespace, "name": name, "resourceVersion": version}});
        let object = serde_json::from_value(object).unwrap();
        owned.keep(
            "Deployment",
            (namespace.to_owned(), name.to_owned()),
            &object,
        );
    }

    fn known(owned: &Owned, namespace: &str, name: &str) -> bool {
        let key = (namespace.to_owned(), name.to_owned());
        owned.known("Deployment", &key).is_some()
    }

    #[test]
    fn only_the_version_that_the_watch_told_last_is_known() {
        let owned = Owned::default();
        read(&owned, "a", "x", "1");
        assert!(!known(&owned, "a", "x"), "nobody watches yet");
        owned.told(None, &Event::Apply(meta("a", "x", "1")));
        read(&owned, "a", "x", "1");
        assert!(known(&owned, "a", "x"));
        owned.told(None, &Event::Apply(meta("a", "x", "2")));
        assert!(!known(&owned, "a", "x"), "it changed");
        read(&owned, "a", "x", "3");
        assert!(!known(&owned, "a", "x"), "read before the watch told of it");
        owned.told(None, &Event::Apply(meta("a", "x", "3")));
        assert!(known(&owned, "a", "x"));
        owned.told(None, &Event::Delete(meta("a", "x", "4")));
        assert!(!known(&owned, "a", "x"));
    }

    #[test]
    fn watch_that_is_begun_again_tells_what_there_is() {
        let owned = Owned::default();
        for namespace in ["a", "b"] {
            owned.told(Some(namespace), &Event::Apply(meta(namespace, "x", "1")));
            read(&owned, namespace, "x", "1");
        }
        owned.told::<Deployment>(Some("a"), &Event::Init);
        assert!(!known(&owned, "a", "x") && known(&owned, "b", "x"));
        owned.told::<Deployment>(Some("a"), &Event::InitDone);
        assert_eq!(owned.kinds.lock()["Deployment"].read.len(), 1, "it is gone");
    }
}
