//! Writes the custom resource definitions into `crds/`.

use std::path::Path;

fn main() -> anyhow::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../crds");
    std::fs::create_dir_all(&folder)?;
    for (name, crd) in clickstream_resources::crds() {
        std::fs::write(folder.join(name), serde_yaml::to_string(&crd)?)?;
    }
    Ok(())
}
