package bitbucket

import (
	"context"
	"encoding/json"
	"math"
	"strconv"
	"strings"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/sshkey"
)

// wireKey is a RestSshKey.
type wireKey struct {
	ID            int64  `json:"id"`
	Text          string `json:"text"`
	Label         string `json:"label"`
	Algorithm     string `json:"algorithmType"`
	Bits          int    `json:"bitLength"`
	Fingerprint   string `json:"fingerprint"`
	Created       int64  `json:"createdDate"`
	ExpiryDays    int    `json:"expiryDays,omitempty"`
	Authenticated *int64 `json:"lastAuthenticated,omitempty"`
	Warning       string `json:"warning,omitempty"`
}

// wireAccessKey is a RestSshAccessKey: it has a project or a repository.
type wireAccessKey struct {
	Key        wireKey         `json:"key"`
	Permission string          `json:"permission"`
	Project    *wireProject    `json:"project,omitempty"`
	Repository *wireRepository `json:"repository,omitempty"`
	ReadOnly   *bool           `json:"readOnly,omitempty"`
}

// number is that of the place.
func (k wireAccessKey) number() int64 {
	if k.Repository != nil {
		return k.Repository.ID
	}
	return k.Project.ID
}

var algorithms = map[sshkey.Algorithm]string{
	sshkey.RSA: "RSA", sshkey.ECDSA: "ECDSA", sshkey.ED25519: "ED25519", sshkey.ECDSASK: "ECDSA_SK", sshkey.ED25519SK: "ED25519_SK",
}

// keyOf shows a key on file.
func keyOf(r sshkey.Registered) wireKey {
	k := wireKey{
		ID: r.Number, Text: r.Text(), Label: r.Label, Algorithm: algorithms[r.Key.Algorithm()], Bits: r.Key.Bits(), Fingerprint: bare(r.Key.SHA256()),
		Created: r.Created.UnixMilli(), ExpiryDays: r.ExpiryDays, Authenticated: millis(r.LastUsed),
	}
	if r.Unsafe {
		k.Warning = "RSA_UNSAFE_MODULUS"
	}
	return k
}

// bare is a fingerprint without the name of its hash.
func bare(fingerprint string) string { return strings.TrimPrefix(fingerprint, "SHA256:") }

// newKey reads a key that is to be put on file. What is no text is no key, as is a text that holds none; the verb says so.
func newKey(o *object) sshkey.New {
	n := sshkey.New{Text: o.loose("text"), Via: sshkey.Wire}
	if label := o.line("label", math.MaxInt); label != nil {
		n.Label = *label
	}
	if days := o.number("expiryDays"); days != nil {
		if *days > math.MaxInt32 || *days < math.MinInt32 {
			o.refuse("expiryDays", "must be a whole number")
		}
		in := int(*days)
		n.ExpiryDays = &in
	}
	return n
}

// number reads a positive number; 0 is none.
func number(text string) int64 {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || !isDigits(json.RawMessage(text)) {
		return 0
	}
	return n
}

// shower shows what keys were given at a place, or at the project that it is in. It looks both up once.
func (d *Dialect) shower(ctx context.Context, at location) func(sshkey.Held) (wireAccessKey, error) {
	var inRepo *wireRepository
	var inProject *wireProject
	return func(h sshkey.Held) (wireAccessKey, error) {
		kind := h.Grant.Place.Kind
		out := wireAccessKey{Key: keyOf(h.Key), Permission: permissionsAt(kind)[h.Grant.Permission]}
		switch {
		case kind == access.RepoKind && inRepo == nil:
			shown, err := d.repository(ctx, *at.repo)
			if err != nil {
				return out, err
			}
			inRepo = &shown
		case kind == access.ProjectKind && inProject == nil:
			shown, err := d.project(ctx, at.project)
			if err != nil {
				return out, err
			}
			inProject = &shown
		}
		if kind == access.RepoKind {
			out.Repository = inRepo
		} else {
			out.Project = inProject
		}
		return out, nil
	}
}
