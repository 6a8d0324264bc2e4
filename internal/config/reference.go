package config

import (
	"fmt"
	"strings"
)

// Reference writes docs/configuration.md: every setting with its names, default and meaning.
func Reference() string {
	var b strings.Builder
	b.WriteString(`# Configuration

<!-- Written from internal/config by: go test ./internal/config -update -->

Each setting can be given in three ways; the first that has it wins:

1. its flag, for ` + "`gatehouse serve`" + ` and, where it makes sense, the other commands;
2. its environment variable: ` + "`GATEHOUSE_A_B` for the setting `a.b`" + `;
3. the YAML file that ` + "`--config FILE` or `GATEHOUSE_CONFIG`" + ` names.

Unknown names are mistakes, in the file and in the environment. All mistakes are reported at once.
Lists are separated by commas, or are lists in the file. A duration is ` + "`250ms`, `10s`, `5m`, `30d`" + ` or a plain number of seconds.

Two secrets come from the environment alone: ` + "`GATEHOUSE_MASTER_KEY`" + ` (instead of ` + "`--master-key-file`" + `) and
` + "`GATEHOUSE_ADMIN_PASSWORD`" + ` (of the first administrator, read when there are no users yet).

` + "```yaml" + `
# gatehouse.yaml
data: /var/lib/gatehouse
http: 0.0.0.0:443
public_url: https://gate.example.com
tls:
  cert: /etc/gatehouse/cert.pem
  key: /etc/gatehouse/key.pem
ssh:
  listen: 0.0.0.0:22
  auth_timeout: 3m
sshverify:
  webhook_allow: [10.20.0.0/16, hooks.internal]
` + "```" + `

| setting | flag | environment | value | default | meaning |
|---|---|---|---|---|---|
`)
	for _, s := range Settings() {
		fmt.Fprintf(&b, "| `%s` | %s | `%s` | %s | %s | %s |\n", s.Name, code(dashed(s.Flag)), s.Env(), s.Kind, code(s.Default), s.Doc)
	}
	return b.String()
}

func dashed(flag string) string {
	if flag == "" {
		return ""
	}
	return "--" + flag
}

func code(s string) string {
	if s == "" {
		return ""
	}
	return "`" + s + "`"
}
