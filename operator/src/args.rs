//! Every option of the operator: flag, environment variable, unit, default.

use clap::Parser;

/// Makes a Kubernetes cluster match the ClickstreamPipelines and ClickstreamQueries in it.
///
/// Every option can also be set by the environment variable shown with it.
#[derive(Debug, Clone, Parser)]
#[command(name = "clickstream-operator", version)]
pub struct Args {
    /// How to reach the cluster; without it what the environment variable KUBECONFIG names, or else the cluster that this
    /// program runs in
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<std::path::PathBuf>,

    /// Namespaces to work in, several separated by commas; all without
    #[arg(long, env, value_name = "NAMESPACES", value_delimiter = ',', value_parser = namespace)]
    pub watch_namespaces: Vec<String>,

    /// Where to serve /healthz, /readyz and /metrics: HOST:PORT; 0.0.0.0:8080 for all interfaces
    #[arg(long, env, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    pub http_addr: String,

    /// The image of workers and handlers; holds all programs
    #[arg(long, env, value_name = "IMAGE", default_value = concat!("clickstream:", env!("CARGO_PKG_VERSION")))]
    pub image: String,

    /// Work only while holding a Lease, so that a second operator can stand by
    #[arg(long, env)]
    pub leader_elect: bool,

    /// The namespace of the Lease
    #[arg(long, env, value_name = "NAMESPACE", default_value = "default", value_parser = namespace)]
    pub lease_namespace: String,

    /// How many objects of a kind are worked on at once: 1 to 256
    #[arg(long, env, value_name = "NUMBER", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub concurrency: u16,
}

fn namespace(value: &str) -> Result<String, String> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if (1..=63).contains(&value.len()) && value.chars().all(fits) {
        Ok(value.to_owned())
    } else {
        Err("a namespace's name is 1 to 63 lower case letters, digits and `-`".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn wrong_values_are_refused_with_what_to_write_instead() {
        let parse = |args: &[&str]| {
            Args::try_parse_from(["clickstream-operator"].iter().chain(args))
                .map(|args| args.watch_namespaces)
        };
        assert_eq!(parse(&["--watch-namespaces", "a,b"]).unwrap(), ["a", "b"]);
        assert!(parse(&[]).unwrap().is_empty());
        for (args, hint) in [
            (["--watch-namespaces", "A"], "lower case letters"),
            (["--concurrency", "0"], "1..=256"),
        ] {
            let error = parse(&args).unwrap_err().to_string();
            assert!(error.contains(hint), "{error}");
        }
    }

    #[test]
    fn help_names_every_option_with_its_variable_and_default() {
        let mut command = Args::command().term_width(100);
        insta::assert_snapshot!(command.render_long_help());
    }
}
