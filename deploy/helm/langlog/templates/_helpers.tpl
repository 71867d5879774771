{{- define "langlog.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- /* names of Services begin with a letter and have no dots, those of releases may */ -}}
{{- if not (regexMatch "^[a-z]" $full) -}}{{- $full = printf "%s-%s" $name .Release.Name -}}{{- end -}}
{{- $sound := replace "." "-" $full -}}
{{- /* a digest keeps apart what was cut or replaced */ -}}
{{- if or (gt (len $sound) 40) (ne $sound $full) -}}
{{- $sound = printf "%s-%s" ($sound | trunc 31 | trimSuffix "-") ($full | sha256sum | trunc 8) -}}
{{- end -}}
{{- $sound -}}
{{- end -}}
{{- end -}}

{{/* The services of this release, in the order in which an upgrade replaces them. */}}
{{- define "langlog.services" -}}
projector {{ if .Values.decider.enabled }}decider {{ end }}executor scheduler gateway
{{- end -}}

{{/* Labels that select pods. Takes (dict "root" $ "service" name); without a service: of all pods. */}}
{{- define "langlog.selector" -}}
app.kubernetes.io/name: {{ default .root.Chart.Name .root.Values.nameOverride | quote }}
app.kubernetes.io/instance: {{ .root.Release.Name | quote }}
{{- with .service }}
app.kubernetes.io/component: {{ . }}
{{- end }}
{{- end -}}

{{- define "langlog.labels" -}}
{{ include "langlog.selector" . }}
app.kubernetes.io/part-of: langlog
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "langlog.name" -}}
{{ include "langlog.fullname" .root }}-{{ .service }}
{{- end -}}

{{- define "langlog.serviceAccount" -}}
{{- $own := index .root.Values .service "serviceAccount" -}}
{{- if $own.name -}}{{ $own.name }}{{- else if $own.create -}}{{ include "langlog.name" . }}{{- else -}}default{{- end -}}
{{- end -}}

{{/* The image of a service: what its own `image` says, over the release's. */}}
{{- define "langlog.image" -}}
{{- $own := index .root.Values .service "image" -}}
{{- $all := .root.Values.image -}}
{{- if and (or $own.tag $own.repository) (not $own.digest) -}}{{- $all = omit $all "digest" -}}{{- end -}}
{{- $image := merge (deepCopy $own) $all -}}
{{- $repository := required "image.repository is empty: name the image of your project, such as registry.example.com/agents" $image.repository -}}
{{- if $image.digest -}}
{{ $repository }}@{{ $image.digest }}
{{- else -}}
{{ $repository }}:{{ required "image.tag and image.digest are empty: name the tag or the digest of your project's image" $image.tag }}
{{- end -}}
{{- end -}}

{{/* Seconds from SIGTERM to the end of a process: LANGLOG_STOP_SECS, by the rule of its default. */}}
{{- define "langlog.stopSeconds" -}}
{{ add (mul 2 (int .Values.drain.seconds)) 10 }}
{{- end -}}

{{/* What a pod may take to end: LANGLOG_STOP_SECS, the pause before, and a margin for the kubelet. */}}
{{- define "langlog.graceSeconds" -}}
{{- $pause := ternary (int .root.Values.drain.gatewayPreStopSeconds) 0 (eq .service "gateway") -}}
{{ add (int (include "langlog.stopSeconds" .root)) $pause 5 }}
{{- end -}}

{{- define "langlog.gatewayHost" -}}
{{ include "langlog.fullname" . }}-gateway.{{ .Release.Namespace }}.svc.{{ .Values.clusterDomain }}
{{- end -}}

{{/* The URL at which this release's own parts reach a gateway. */}}
{{- define "langlog.gatewayUrl" -}}
http://{{ include "langlog.gatewayHost" . }}:{{ int .Values.ports.http }}{{ .Values.settings.MOUNT_PREFIX | default "" | trimSuffix "/" }}
{{- end -}}

{{/* Names by which clients reach gateways: those of the Service, and the Ingress' hosts. */}}
{{- define "langlog.allowedHosts" -}}
{{- $name := printf "%s-gateway" (include "langlog.fullname" .) -}}
{{- $in := printf "%s.%s" $name .Release.Namespace -}}
{{- $names := list $name $in (printf "%s.svc" $in) (printf "%s.svc.%s" $in .Values.clusterDomain) -}}
{{- if .Values.ingress.enabled -}}{{- $names = concat $names .Values.ingress.hosts -}}{{- end -}}
{{ join "," $names }}
{{- end -}}

{{/* Variables with plain values: what the chart sets, then `settings`. */}}
{{- define "langlog.settings" -}}
{{- $own := dict
  "LOG_URI" (printf "kafka://%s" (required "kafka.bootstrapServers is empty: name your brokers, such as kafka-bootstrap.kafka:9092" .Values.kafka.bootstrapServers))
  "LANGLOG_PRODUCTION" (toString .Values.production)
  "LANGLOG_PARTITIONS" (toString (int .Values.kafka.partitions))
  "LANGLOG_REPLICATION_FACTOR" (toString (int .Values.kafka.replicationFactor))
  "LANGLOG_KAFKA_SECURITY" .Values.kafka.security
  "LANGLOG_HOST" .Values.listen
  "PORT" (toString (int .Values.ports.http))
  "LANGLOG_HEALTH_PORT" (toString (int .Values.ports.health))
  "LANGLOG_DRAIN_SECS" (toString (int .Values.drain.seconds))
  "LANGLOG_STOP_SECS" (include "langlog.stopSeconds" .)
  "LANGLOG_BASE_URL" (include "langlog.gatewayUrl" .)
  "LANGLOG_ALLOWED_HOSTS" (include "langlog.allowedHosts" .)
  "LOG_JSON" "true" -}}
{{- if .Values.project -}}{{- $_ := set $own "LANGLOG_PROJECT" .Values.project -}}{{- end -}}
{{- if .Values.kafka.topicPrefix -}}{{- $_ := set $own "LANGLOG_TOPIC_PREFIX" .Values.kafka.topicPrefix -}}{{- end -}}
{{- if .Values.redis.prefix -}}{{- $_ := set $own "REDIS_KEY_PREFIX" .Values.redis.prefix -}}{{- end -}}
{{- if hasPrefix "SASL" .Values.kafka.security -}}
{{- $_ := set $own "LANGLOG_KAFKA_SASL_MECHANISM" .Values.kafka.sasl.mechanism -}}
{{- $_ := set $own "LANGLOG_KAFKA_USERNAME" (required "kafka.sasl.username is empty, and kafka.security asks for SASL" .Values.kafka.sasl.username) -}}
{{- end -}}
{{- with .Values.kafka.tls -}}
{{- if .existingSecret -}}
{{- if .caKey -}}{{- $_ := set $own "LANGLOG_KAFKA_CA_FILE" (printf "/etc/langlog/kafka/%s" .caKey) -}}{{- end -}}
{{- if .certKey -}}{{- $_ := set $own "LANGLOG_KAFKA_CERT_FILE" (printf "/etc/langlog/kafka/%s" .certKey) -}}{{- end -}}
{{- if .keyKey -}}{{- $_ := set $own "LANGLOG_KAFKA_KEY_FILE" (printf "/etc/langlog/kafka/%s" .keyKey) -}}{{- end -}}
{{- end -}}
{{- end -}}
{{- range $name, $value := .Values.settings -}}
{{- if and (hasKey $own $name) (not (has $name (list "LANGLOG_ALLOWED_HOSTS" "LANGLOG_BASE_URL" "LOG_JSON"))) -}}
{{- fail (printf "settings.%s: the chart sets this variable from a value of its own; see its README" $name) -}}
{{- end -}}
{{- if has $name (list "DATABASE_URI" "POSTGRES_URI" "REDIS_URI" "LANGLOG_SECRET" "LANGLOG_KAFKA_PASSWORD") -}}
{{- fail (printf "settings.%s: secrets do not belong into a ConfigMap; use postgres, redis, deploymentSecret or kafka.sasl" $name) -}}
{{- end -}}
{{- $_ := set $own $name (toString $value) -}}
{{- end -}}
{{ toYaml $own }}
{{- end -}}

{{/* Secrets that the chart makes, by variable. */}}
{{- define "langlog.secrets" -}}
{{- $own := dict -}}
{{- if not .Values.postgres.existingSecret -}}
{{- $_ := set $own "DATABASE_URI" (required "postgres.uri and postgres.existingSecret are empty: name your Postgres" .Values.postgres.uri) -}}
{{- end -}}
{{- if not .Values.redis.existingSecret -}}
{{- $_ := set $own "REDIS_URI" (required "redis.uri and redis.existingSecret are empty: name your Redis" .Values.redis.uri) -}}
{{- end -}}
{{- if and .Values.deploymentSecret.value (not .Values.deploymentSecret.existingSecret) -}}
{{- $_ := set $own "LANGLOG_SECRET" .Values.deploymentSecret.value -}}
{{- end -}}
{{- if and (hasPrefix "SASL" .Values.kafka.security) (not .Values.kafka.sasl.existingSecret) -}}
{{- $_ := set $own "LANGLOG_KAFKA_PASSWORD" (required "kafka.sasl.password and kafka.sasl.existingSecret are empty, and kafka.security asks for SASL" .Values.kafka.sasl.password) -}}
{{- end -}}
{{ toYaml $own }}
{{- end -}}

{{- define "langlog.secretEnv" -}}
{{- $full := include "langlog.fullname" . -}}
- name: DATABASE_URI
  valueFrom: {secretKeyRef: {name: {{ .Values.postgres.existingSecret | default $full | quote }}, key: {{ ternary .Values.postgres.key "DATABASE_URI" (ne .Values.postgres.existingSecret "") | quote }}}}
- name: REDIS_URI
  valueFrom: {secretKeyRef: {name: {{ .Values.redis.existingSecret | default $full | quote }}, key: {{ ternary .Values.redis.key "REDIS_URI" (ne .Values.redis.existingSecret "") | quote }}}}
{{- if or .Values.deploymentSecret.value .Values.deploymentSecret.existingSecret }}
- name: LANGLOG_SECRET
  valueFrom: {secretKeyRef: {name: {{ .Values.deploymentSecret.existingSecret | default $full | quote }}, key: {{ ternary .Values.deploymentSecret.key "LANGLOG_SECRET" (ne .Values.deploymentSecret.existingSecret "") | quote }}}}
{{- end }}
{{- if hasPrefix "SASL" .Values.kafka.security }}
- name: LANGLOG_KAFKA_PASSWORD
  valueFrom: {secretKeyRef: {name: {{ .Values.kafka.sasl.existingSecret | default $full | quote }}, key: {{ ternary .Values.kafka.sasl.key "LANGLOG_KAFKA_PASSWORD" (ne .Values.kafka.sasl.existingSecret "") | quote }}}}
{{- end }}
{{- end -}}

{{/* The command line of a service. */}}
{{- define "langlog.args" -}}
{{- if eq .service "gateway" -}}
[gateway]
{{- else if eq .service "executor" -}}
[executor, --role, {{ ternary "worker" "both" .root.Values.decider.enabled }}, --workers, {{ .root.Values.executor.workers | int | toString | quote }}]
{{- else if eq .service "decider" -}}
[executor, --role, decider]
{{- else -}}
[{{ .service }}]
{{- end -}}
{{- end -}}
