//! The definitions in `crds/` and in the Helm chart, and the reference, are those of the types.

#[test]
fn committed_definitions_are_those_of_the_types() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for folder in ["crds", "charts/clickstream/files/crds"] {
        let crds = clickstream_resources::crds();
        for (name, crd) in &crds {
            let file = root.join(folder).join(name);
            let committed = std::fs::read_to_string(file).unwrap_or_default();
            let made = clickstream_resources::quoted(&serde_yaml::to_string(crd).unwrap());
            assert!(
                committed == made,
                "{folder}/{name} is not what the types say; run `make crds`"
            );
        }
        let files = std::fs::read_dir(root.join(folder)).unwrap().count();
        assert_eq!(files, crds.len(), "{folder} has files of no type");
    }
}

#[test]
fn committed_reference_is_that_of_the_types() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let committed = std::fs::read_to_string(root.join("docs/reference.md")).unwrap_or_default();
    assert!(
        committed == clickstream_resources::reference(),
        "docs/reference.md is not what the types say; run `make crds`"
    );
}
