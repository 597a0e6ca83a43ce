//! Writes the custom resource definitions into `crds/` and into the Helm chart, and `docs/reference.md`.

use std::path::Path;

fn main() -> anyhow::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for folder in ["crds", "charts/clickstream/files/crds"] {
        let folder = root.join(folder);
        std::fs::create_dir_all(&folder)?;
        for (name, crd) in clickstream_resources::crds() {
            let yaml = clickstream_resources::quoted(&serde_yaml::to_string(&crd)?);
            std::fs::write(folder.join(name), yaml)?;
        }
    }
    std::fs::write(
        root.join("docs/reference.md"),
        clickstream_resources::reference(),
    )?;
    Ok(())
}
