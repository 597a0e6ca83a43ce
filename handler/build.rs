//! Makes sure that there is a page to embed: a notice, until `ui/` is built.

use std::{fs, io, path::Path};

const NOTICE: &str = "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>Clickstream</title>\n\
<h1>The page was not built</h1>\n<p>Run <code>npm ci &amp;&amp; npm run build</code> in <code>ui/</code>, then build \
the handler again. The doors <code>/stomp</code>, <code>/sockjs</code> and <code>/api/v1/live</code> work.</p>\n</html>\n";

fn main() -> io::Result<()> {
    let page = Path::new("../ui/dist");
    println!("cargo::rerun-if-changed={}", page.display());
    fs::create_dir_all(page)?;
    let index = page.join("index.html");
    if !index.exists() {
        fs::write(index, NOTICE)?;
    }
    Ok(())
}
