//! What a pipeline's spec refers to: Secrets, and what is in them.

use std::collections::{BTreeMap, BTreeSet};

use clickstream_resources::{ClickstreamPipelineSpec, ScramMechanism};
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use rdkafka::ClientConfig;
use sha2::{Digest as _, Sha256};

/// Secrets by name, with their data.
pub type Secrets = BTreeMap<String, BTreeMap<String, Vec<u8>>>;

/// How to reach what the pipeline needs. Holds secrets: never logged, never in a status.
pub struct Connections {
    /// For the operator's own client.
    pub kafka: ClientConfig,
    /// The database.
    pub database: String,
    /// The database for migrations.
    pub direct: String,
    /// Tells other contents of the Secrets from these, and nothing else of them.
    pub fingerprint: String,
    /// The same for all pipelines with the same brokers and Secrets, so that they share a client. Not for others to see.
    pub shared: String,
}

/// Names of the Secrets that a spec refers to.
#[must_use]
pub fn secret_names(spec: &ClickstreamPipelineSpec) -> BTreeSet<&str> {
    let kafka = &spec.kafka;
    let auth = kafka.auth.iter().flat_map(|auth| {
        let scram = auth.scram.iter().map(|scram| &scram.secret_ref.name);
        let plain = auth.plain.iter().map(|plain| &plain.secret_ref.name);
        let mtls = auth.mtls.iter().map(|mtls| &mtls.secret_ref.name);
        scram.chain(plain).chain(mtls)
    });
    let authority = kafka
        .tls
        .iter()
        .filter_map(|tls| Some(&tls.ca_secret_ref.as_ref()?.name));
    let database = [&spec.postgres.secret_ref.name];
    let direct = spec
        .postgres
        .direct_secret_ref
        .iter()
        .map(|secret| &secret.name);
    let all = auth.chain(authority).chain(database).chain(direct);
    all.map(String::as_str).collect()
}

/// The Secrets that a spec refers to; one that does not exist is left out.
///
/// # Errors
/// When the API server refuses or does not answer.
pub async fn secrets(
    client: &Client,
    namespace: &str,
    spec: &ClickstreamPipelineSpec,
) -> Result<Secrets, kube::Error> {
    let api = Api::<Secret>::namespaced(client.clone(), namespace);
    let mut secrets = Secrets::new();
    for name in secret_names(spec) {
        if let Some(secret) = api.get_opt(name).await? {
            let data = secret.data.unwrap_or_default();
            let data = data
                .into_iter()
                .map(|(key, value)| (key, value.0))
                .collect();
            secrets.insert(name.to_owned(), data);
        }
    }
    Ok(secrets)
}

/// What the Secrets say.
///
/// # Errors
/// Which Secret or key is missing or unusable, for people; never what is in it.
pub fn connections(
    uid: &str,
    brokers: &str,
    spec: &ClickstreamPipelineSpec,
    secrets: &Secrets,
) -> Result<Connections, String> {
    let get = |name: &str, key: &str| -> Result<String, String> {
        let secret = secrets.get(name).ok_or_else(|| {
            format!("Secret `{name}` does not exist in this namespace: create it, or name another")
        })?;
        let value = secret
            .get(key)
            .ok_or_else(|| format!("Secret `{name}` has no key `{key}`: add it"))?;
        let value = std::str::from_utf8(value)
            .ok()
            .filter(|value| !value.trim().is_empty() && !value.contains('\0'));
        value
            .map(|value| value.trim_end_matches('\n').to_owned())
            .ok_or_else(|| format!("key `{key}` of Secret `{name}` holds no text"))
    };
    let mut kafka = ClientConfig::new();
    kafka.set("bootstrap.servers", brokers);
    for (setting, value) in protocol(spec) {
        kafka.set(setting, value);
    }
    if let Some(authority) = spec
        .kafka
        .tls
        .as_ref()
        .and_then(|tls| tls.ca_secret_ref.as_ref())
    {
        kafka.set("ssl.ca.pem", get(&authority.name, &authority.key)?);
    }
    if let Some(auth) = &spec.kafka.auth {
        let login = auth.scram.as_ref().map(|scram| &scram.secret_ref);
        if let Some(secret) = login.or(auth.plain.as_ref().map(|plain| &plain.secret_ref)) {
            kafka.set("sasl.username", get(&secret.name, "username")?);
            kafka.set("sasl.password", get(&secret.name, "password")?);
        }
        if let Some(mtls) = &auth.mtls {
            kafka.set(
                "ssl.certificate.pem",
                get(&mtls.secret_ref.name, "tls.crt")?,
            );
            kafka.set("ssl.key.pem", get(&mtls.secret_ref.name, "tls.key")?);
        }
    }
    let postgres = &spec.postgres;
    let database = get(&postgres.secret_ref.name, &postgres.secret_ref.key)?;
    let direct = match &postgres.direct_secret_ref {
        Some(direct) => get(&direct.name, &direct.key)?,
        None => database.clone(),
    };
    Ok(Connections {
        fingerprint: fingerprint(uid, brokers, &protocol(spec), secrets),
        shared: fingerprint("", brokers, &protocol(spec), secrets),
        kafka,
        database,
        direct,
    })
}

/// Settings of librdkafka that are no secret.
#[must_use]
pub fn protocol(spec: &ClickstreamPipelineSpec) -> Vec<(&'static str, &'static str)> {
    let auth = spec.kafka.auth.as_ref();
    let mechanism = auth.and_then(|auth| match (&auth.scram, &auth.plain) {
        (Some(scram), _) => Some(match scram.mechanism {
            ScramMechanism::Sha256 => "SCRAM-SHA-256",
            ScramMechanism::Sha512 => "SCRAM-SHA-512",
        }),
        (None, Some(_)) => Some("PLAIN"),
        (None, None) => None,
    });
    let protocol = match (spec.kafka.tls.is_some(), mechanism.is_some()) {
        (false, false) => "plaintext",
        (true, false) => "ssl",
        (false, true) => "sasl_plaintext",
        (true, true) => "sasl_ssl",
    };
    let mechanism = mechanism.map(|mechanism| ("sasl.mechanism", mechanism));
    [("security.protocol", protocol)]
        .into_iter()
        .chain(mechanism)
        .collect()
}

/// Salted with the pipeline's uid, so that it does not tell whether two pipelines have the same password.
fn fingerprint(uid: &str, brokers: &str, protocol: &[(&str, &str)], secrets: &Secrets) -> String {
    let mut hash = Sha256::new();
    let mut add = |part: &[u8]| {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    };
    add(uid.as_bytes());
    add(brokers.as_bytes());
    for (setting, value) in protocol {
        add(setting.as_bytes());
        add(value.as_bytes());
    }
    for (name, data) in secrets {
        add(name.as_bytes());
        for (key, value) in data {
            add(key.as_bytes());
            add(value);
        }
    }
    hash.finalize()
        .iter()
        .take(16)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::validate::tests::pipeline;
    use super::*;

    fn secrets(of: &[(&str, &[(&str, &str)])]) -> Secrets {
        let data = |pairs: &[(&str, &str)]| {
            pairs
                .iter()
                .map(|(key, value)| ((*key).to_owned(), value.as_bytes().to_vec()))
                .collect()
        };
        of.iter()
            .map(|(name, pairs)| ((*name).to_owned(), data(pairs)))
            .collect()
    }

    #[test]
    fn secrets_become_settings() {
        let spec = pipeline(json!({"kafka": {
            "bootstrapServers": ["k:1"],
            "tls": {"caSecretRef": {"name": "ca"}},
            "auth": {"scram": {"secretRef": {"name": "user"}}},
        }}))
        .spec;
        let all = secrets(&[
            ("ca", &[("ca.crt", "PEM")]),
            ("user", &[("username", "u"), ("password", "hidden\n")]),
            ("database", &[("uri", "postgres://db/x")]),
        ]);
        let made = connections("1", "k:1", &spec, &all).unwrap();
        assert_eq!(made.kafka.get("security.protocol"), Some("sasl_ssl"));
        assert_eq!(made.kafka.get("sasl.mechanism"), Some("SCRAM-SHA-512"));
        assert_eq!(made.kafka.get("sasl.password"), Some("hidden"));
        assert_eq!(
            (made.database.as_str(), made.direct.as_str()),
            ("postgres://db/x", "postgres://db/x")
        );
        let mut rotated = all.clone();
        rotated
            .get_mut("user")
            .unwrap()
            .insert("password".to_owned(), b"other".to_vec());
        assert_ne!(
            made.fingerprint,
            connections("1", "k:1", &spec, &rotated)
                .unwrap()
                .fingerprint
        );
        assert_ne!(
            made.fingerprint,
            connections("2", "k:1", &spec, &all).unwrap().fingerprint
        );
    }

    #[test]
    fn what_is_missing_is_named_and_nothing_else() {
        let spec = pipeline(json!({"kafka": {"bootstrapServers": ["k:1"], "auth": {"plain": {"secretRef": {"name": "user"}}}}})).spec;
        for (all, hint) in [
            (secrets(&[]), "Secret `user` does not exist"),
            (
                secrets(&[("user", &[("username", "u")])]),
                "Secret `user` has no key `password`",
            ),
            (
                secrets(&[("user", &[("username", "u"), ("password", "hidden")])]),
                "Secret `database` does not exist",
            ),
            (
                secrets(&[
                    ("user", &[("username", "u"), ("password", "hidden")]),
                    ("database", &[("uri", " ")]),
                ]),
                "key `uri` of Secret `database` holds no text",
            ),
        ] {
            let told = connections("1", "k:1", &spec, &all)
                .map(|_| ())
                .unwrap_err();
            assert!(told.contains(hint), "{told}");
            assert!(!told.contains("hidden"), "{told}");
        }
    }
}
