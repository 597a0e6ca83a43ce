//! Which pipeline a query names, and whether that takes it.

use std::collections::BTreeMap;
use std::sync::Arc;

use clickstream_resources::condition::Reason;
use clickstream_resources::{ClickstreamPipeline, ClickstreamQuery, NamespacesFrom};
use kube::ResourceExt as _;

use super::Context;

/// Why a query cannot be matched.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) reason: Reason,
    pub(super) message: String,
}

/// The pipeline that the query names, if it takes the query.
pub(super) async fn resolve(
    query: &ClickstreamQuery,
    ctx: &Context,
) -> Result<Result<Arc<ClickstreamPipeline>, Refusal>, kube::Error> {
    let own = query.namespace().unwrap_or_default();
    let wanted = &query.spec.pipeline_ref;
    let namespace = wanted.namespace.as_deref().unwrap_or(&own);
    let Some(pipeline) = ctx.pipeline(namespace, &wanted.name) else {
        return Ok(Err(Refusal {
            reason: Reason::PipelineNotFound,
            message: format!(
                "there is no ClickstreamPipeline `{}` in namespace `{namespace}`, among those this operator works in",
                wanted.name
            ),
        }));
    };
    let labels = if own != namespace
        && pipeline.spec.allowed_queries.namespaces.from == NamespacesFrom::Selector
    {
        ctx.labels_of(&own).await?
    } else {
        BTreeMap::new()
    };
    Ok(match allows(&pipeline, namespace, &own, &labels) {
        true => Ok(pipeline),
        false => Err(Refusal {
            reason: Reason::NotPermitted,
            message: format!(
                "ClickstreamPipeline `{}` in namespace `{namespace}` takes no queries of namespace `{own}`: \
                 its owner can allow them by `spec.allowedQueries.namespaces`",
                wanted.name
            ),
        }),
    })
}

/// Whether a pipeline takes queries of the namespace `own`, which has these labels.
fn allows(
    pipeline: &ClickstreamPipeline,
    namespace: &str,
    own: &str,
    labels: &BTreeMap<String, String>,
) -> bool {
    let allowed = &pipeline.spec.allowed_queries.namespaces;
    let matches = |wanted: &BTreeMap<String, String>| {
        !wanted.is_empty()
            && wanted
                .iter()
                .all(|(key, value)| labels.get(key) == Some(value))
    };
    own == namespace
        || match allowed.from {
            NamespacesFrom::Same => false,
            NamespacesFrom::All => true,
            NamespacesFrom::Selector => allowed.match_labels.as_ref().is_some_and(matches),
        }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::validate::tests::pipeline;
    use super::*;

    #[test]
    fn a_pipeline_takes_queries_of_its_own_namespace_and_of_those_it_names() {
        let labels = BTreeMap::from([("team".to_owned(), "shop".to_owned())]);
        let takes = |namespaces, own: &str| {
            let pipeline = pipeline(json!({"allowedQueries": {"namespaces": namespaces}}));
            allows(&pipeline, "default", own, &labels)
        };
        for from in ["Same", "All"] {
            assert!(takes(json!({"from": from}), "default"), "{from}");
        }
        assert!(!takes(json!({"from": "Same"}), "other"));
        assert!(takes(json!({"from": "All"}), "other"));
        let wanting = |value| json!({"from": "Selector", "matchLabels": {"team": value}});
        assert!(takes(wanting("shop"), "other"));
        assert!(!takes(wanting("bank"), "other"));
        assert!(takes(wanting("bank"), "default"), "its own always");
        assert!(
            !takes(json!({"from": "Selector"}), "other"),
            "nothing is named"
        );
    }
}
