//! The definitions in `crds/` are those of the types.

#[test]
fn committed_definitions_are_those_of_the_types() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../crds");
    for (name, crd) in clickstream_resources::crds() {
        let committed = std::fs::read_to_string(folder.join(name)).unwrap_or_default();
        assert!(
            committed == clickstream_resources::quoted(&serde_yaml::to_string(&crd).unwrap()),
            "crds/{name} is not what the types say; run `cargo run -p clickstream-resources --example crds`"
        );
    }
}
