{{- define "pulmospark.labels" -}}
app.kubernetes.io/name: pulmospark
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "pulmospark.image" -}}
{{ .repository }}:{{ .tag }}
{{- end }}

{{- /* Of the images' claim: nothing without one. */ -}}
{{- define "pulmospark.volumes" -}}
{{- with .Values.claim.name }}
- name: images
  persistentVolumeClaim:
    claimName: {{ . }}
{{- end }}
{{- end }}

{{- define "pulmospark.volumeMounts" -}}
{{- if .Values.claim.name }}
- name: images
  mountPath: {{ .Values.claim.path }}
{{- end }}
{{- end }}

{{- define "pulmospark.envFrom" -}}
{{- range .Values.credentials }}
- secretRef:
    name: {{ . }}
{{- end }}
{{- end }}

{{- /* User 185 of the image; the group of the claim's files. */ -}}
{{- define "pulmospark.podSecurity" -}}
runAsNonRoot: true
runAsUser: 185
runAsGroup: 185
fsGroup: 185
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "pulmospark.security" -}}
allowPrivilegeEscalation: false
capabilities:
  drop: [ALL]
{{- end }}

{{- define "pulmospark.predict" -}}
- predict
- {{ .Values.predict.bundle | quote }}
{{- range .Values.predict.images }}
- {{ . | quote }}
{{- end }}
- --out
- {{ .Values.predict.out | quote }}
{{- range .Values.predict.arguments }}
- {{ . | quote }}
{{- end }}
{{- end }}
