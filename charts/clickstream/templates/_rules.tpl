{{/* What the operator may do in a namespace where it works. */}}
{{- define "clickstream.rules" -}}
# What it works for. Their metadata is patched for a finalizer, which they have only while a topic of Kafka is to be
# deleted with them.
- apiGroups: [clickstream.dev]
  resources: [clickstreampipelines, clickstreamqueries]
  verbs: [get, list, watch, patch]
# Only the operator writes what has become of them.
- apiGroups: [clickstream.dev]
  resources: [clickstreampipelines/status, clickstreamqueries/status]
  verbs: [patch]
# Where owners may only be named by who may change their finalizers (OwnerReferencesPermissionEnforcement).
- apiGroups: [clickstream.dev]
  resources: [clickstreampipelines/finalizers]
  verbs: [update]
# Workers and handlers. Server-side apply is a patch, and a create where there is nothing yet.
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, list, watch, create, patch]
# Their settings, addresses and identities.
- apiGroups: [""]
  resources: [configmaps, services, serviceaccounts]
  verbs: [get, list, watch, create, patch]
# Where to ask workers and handlers for their metrics, when it decides how many there are.
- apiGroups: [""]
  resources: [pods]
  verbs: [list]
# How many of them may be away at once.
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch]
# The way from outside to handlers, and who may connect to pods, where a pipeline asks for them; they are removed when it
# asks no more.
- apiGroups: [networking.k8s.io]
  resources: [ingresses, networkpolicies]
  verbs: [get, list, watch, create, patch, delete]
# Likewise by the Gateway API. Not watched, as a cluster may not know the kind.
- apiGroups: [gateway.networking.k8s.io]
  resources: [httproutes]
  verbs: [get, create, patch, delete]
# Addresses and passwords of Kafka and PostgreSQL. Only those that a pipeline names are read; of the others the
# metadata is watched, to see changes, which takes the same verbs.
- apiGroups: [""]
  resources: [secrets]
  verbs: [get, list, watch]
# Whether a namespace is being deleted, and whether its labels admit its queries.
- apiGroups: [""]
  resources: [namespaces]
  verbs: [get]
# What happened, for `kubectl describe`.
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end }}
