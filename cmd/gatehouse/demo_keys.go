package main

import (
	"context"
	"crypto/ed25519"
	"encoding/pem"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"github.com/gatehouse-project/gatehouse/internal/domain/sshkey"
)

// maxOwnKeys is how many keys a verify session lists.
const maxOwnKeys = 32

// ownKey is a public key that the person seems to have.
type ownKey struct {
	sshkey.Key
	name string
	from string // where it was found, in words
}

// ownKeys are the keys that were found, and how ssh comes to use one of them.
type ownKeys struct {
	keys     []ownKey
	identity string // private key file for ssh -i; "" where ssh finds a key by itself
	made     bool   // nothing usable was found, and identity was made for the demo
}

// add lists a key unless it is listed or the list is full.
func (o *ownKeys) add(k ownKey) {
	known := slices.ContainsFunc(o.keys, func(has ownKey) bool { return has.Equal(k.Key) })
	if !known && len(o.keys) < maxOwnKeys {
		o.keys = append(o.keys, k)
	}
}

// nameOf returns the name of a key by its fingerprint.
func (o *ownKeys) nameOf(fingerprint string) string {
	for _, k := range o.keys {
		if k.SHA256() == fingerprint {
			return k.name
		}
	}
	return ""
}

// findKeys looks into the agent and into ~/.ssh. Where ssh would find no private key, one is made in dir.
func findKeys(ctx context.Context, env []string, dir string) (ownKeys, error) {
	var found ownKeys
	for _, k := range agentKeys(ctx, variable(env, "SSH_AUTH_SOCK")) {
		found.add(k)
	}
	usable := len(found.keys) > 0
	home := variable(env, "HOME")
	for _, f := range keyFiles(filepath.Join(home, ".ssh")) {
		found.add(f.ownKey)
		switch {
		case f.private == "" || usable && found.identity == "":
		case f.standard && isHome(home):
			usable, found.identity = true, ""
		case found.identity == "":
			usable, found.identity = true, f.private
		}
	}
	if usable {
		return found, nil
	}
	made, err := makeKey(dir)
	if err != nil {
		return found, err
	}
	found.keys = append([]ownKey{made}, found.keys[:min(len(found.keys), maxOwnKeys-1)]...)
	found.identity, found.made = filepath.Join(dir, "key"), true
	return found, nil
}

func variable(env []string, name string) string {
	for _, pair := range slices.Backward(env) {
		if value, ok := strings.CutPrefix(pair, name+"="); ok {
			return value
		}
	}
	return ""
}

// isHome reports whether ssh looks into this home for its standard keys: it asks the system, not HOME.
func isHome(home string) bool {
	u, err := user.Current()
	return err == nil && filepath.Clean(u.HomeDir) == filepath.Clean(home)
}

// agentKeys lists what the agent holds and Gatehouse accepts. An agent that does not answer holds nothing.
func agentKeys(ctx context.Context, socket string) []ownKey {
	if socket == "" {
		return nil
	}
	dialer := net.Dialer{Timeout: 2 * time.Second}
	conn, err := dialer.DialContext(ctx, "unix", socket)
	if err != nil {
		return nil
	}
	defer conn.Close()
	if conn.SetDeadline(time.Now().Add(2*time.Second)) != nil {
		return nil
	}
	listed, err := agent.NewClient(conn).List()
	if err != nil {
		return nil
	}
	var keys []ownKey
	for _, l := range listed {
		if k, err := sshkey.Parse(string(ssh.MarshalAuthorizedKey(l))); err == nil {
			keys = append(keys, ownKey{k, keyName(l.Comment, k.Type()), "agent"})
		}
	}
	return keys
}

// keyFile is a public key file, with the private one beside it where there is one.
type keyFile struct {
	ownKey
	private  string
	standard bool // ssh tries it without being told
}

// keyFiles reads the public keys of a folder that Gatehouse accepts.
func keyFiles(folder string) []keyFile {
	names, err := filepath.Glob(filepath.Join(folder, "*.pub"))
	if err != nil {
		return nil
	}
	var files []keyFile
	for _, name := range names[:min(len(names), 200)] {
		info, err := os.Stat(name)
		if err != nil || !info.Mode().IsRegular() || info.Size() > 16<<10 {
			continue
		}
		text, err := os.ReadFile(name)
		if err != nil {
			continue
		}
		k, err := sshkey.Parse(string(text))
		if err != nil {
			continue
		}
		base := strings.TrimSuffix(filepath.Base(name), ".pub")
		f := keyFile{ownKey: ownKey{k, keyName(k.Comment(), base), "~/.ssh/" + base + ".pub"}}
		if private := strings.TrimSuffix(name, ".pub"); exists(private) {
			f.private = private
			f.standard = slices.Contains([]string{"id_rsa", "id_ecdsa", "id_ecdsa_sk", "id_ed25519", "id_ed25519_sk"}, base)
		}
		files = append(files, f)
	}
	return files
}

func exists(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}

// keyName makes a name for a key from its comment, or from what else is known of it.
func keyName(comment, otherwise string) string {
	name := strings.TrimSpace(strings.Map(func(r rune) rune {
		if unicode.IsGraphic(r) {
			return r
		}
		return -1
	}, comment))
	if runes := []rune(name); len(runes) > 60 {
		name = string(runes[:60])
	}
	if name == "" {
		return otherwise
	}
	return name
}

// makeKey makes a key pair that ends with the demo.
func makeKey(dir string) (ownKey, error) {
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		return ownKey{}, err
	}
	block, err := ssh.MarshalPrivateKey(private, "gatehouse demo")
	if err != nil {
		return ownKey{}, err
	}
	if err := os.WriteFile(filepath.Join(dir, "key"), pem.EncodeToMemory(block), 0o600); err != nil {
		return ownKey{}, err
	}
	return publicKey(public, "throwaway key", "made for this demo")
}

// publicKey turns an Ed25519 public key into one that can be listed.
func publicKey(public ed25519.PublicKey, name, from string) (ownKey, error) {
	wire, err := ssh.NewPublicKey(public)
	if err != nil {
		return ownKey{}, err
	}
	k, err := sshkey.Parse(string(ssh.MarshalAuthorizedKey(wire)))
	return ownKey{k, name, from}, err
}
