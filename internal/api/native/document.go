package native

import "github.com/danielgtaylor/huma/v2"

// NewDocument begins the OpenAPI document that all described APIs share. Add schemas through
// Components.Schemas and operations with AddOperation; publicURL is where callers reach the server.
func NewDocument(version, publicURL string) *huma.OpenAPI {
	doc := newConfig(version).OpenAPI
	doc.Info.Description = "One gate for people, programs and keys."
	doc.Info.License = &huma.License{Name: "Apache-2.0", Identifier: "Apache-2.0"}
	doc.Servers = []*huma.Server{{URL: publicURL}}
	doc.Paths = map[string]*huma.PathItem{}
	return doc
}

// newConfig is huma's without the parts that we do ourselves or refuse: its documentation page loads
// scripts from another host, and its hooks add "$schema" members and Link headers to every answer.
func newConfig(version string) huma.Config {
	c := huma.DefaultConfig("Gatehouse", version)
	c.CreateHooks = nil
	c.DocsPath, c.OpenAPIPath, c.SchemasPath = "", "", ""
	return c
}
