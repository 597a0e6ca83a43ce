//! How single values are written. Each refusal says what to write instead.

use clickstream_engine::FieldPath;

/// Longest name of a topic that Kafka takes.
const MAX_TOPIC: usize = 249;

/// Longest name of a pipeline, in bytes.
const MAX_PIPELINE: usize = 256;

/// Several HOST:PORT, separated by commas.
pub(crate) fn brokers(value: &str) -> Result<String, String> {
    if value
        .split(',')
        .all(|broker| address(broker.trim()).is_ok())
    {
        Ok(value.to_owned())
    } else {
        Err(
            "write HOST:PORT, several separated by commas, such as `kafka-1:9092,kafka-2:9092`"
                .to_owned(),
        )
    }
}

/// HOST:PORT.
///
/// # Errors
/// It is not.
pub fn address(value: &str) -> Result<String, String> {
    let port = value.rsplit_once(':').filter(|(host, _)| !host.is_empty());
    match port.and_then(|(_, port)| port.parse::<u16>().ok()) {
        Some(_) => Ok(value.to_owned()),
        None => Err("write HOST:PORT, such as `0.0.0.0:8080`".to_owned()),
    }
}

/// KEY=VALUE, a setting of librdkafka.
///
/// # Errors
/// There is no key or no `=`.
pub fn key_value(value: &str) -> Result<(String, String), String> {
    match value.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => {
            Ok((key.trim().to_owned(), value.to_owned()))
        }
        _ => Err("write KEY=VALUE, such as `security.protocol=sasl_ssl`".to_owned()),
    }
}

/// A topic's name.
///
/// # Errors
/// Kafka would not take it.
pub fn topic(value: &str) -> Result<String, String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let is_named = (1..=MAX_TOPIC).contains(&value.len()) && value.chars().all(fits);
    if is_named && value != "." && value != ".." {
        Ok(value.to_owned())
    } else {
        Err(format!(
            "a topic's name is 1 to {MAX_TOPIC} letters, digits, `.`, `_` and `-`"
        ))
    }
}

/// A pipeline's name.
pub(crate) fn pipeline(value: &str) -> Result<String, String> {
    if value.is_empty() || value.len() > MAX_PIPELINE || value.chars().any(char::is_control) {
        return Err(format!(
            "write a name of 1 to {MAX_PIPELINE} characters, such as `shop` or `team/shop`"
        ));
    }
    Ok(value.to_owned())
}

/// The place of a field in an event.
///
/// # Errors
/// It is no dotted path; with the place of the mistake.
pub fn path(value: &str) -> Result<FieldPath, String> {
    FieldPath::parse(value).map_err(|err| {
        format!(
            "{}: write a dotted path, such as `user.id`\n{}",
            err.message,
            err.caret()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_is_a_key_and_a_value_that_may_hold_more_equals_signs() {
        let setting = ("sasl.password".to_owned(), "a=b".to_owned());
        assert_eq!(key_value("sasl.password=a=b"), Ok(setting));
        assert!(key_value("acks").is_err());
        assert!(key_value("=1").is_err());
    }
}
