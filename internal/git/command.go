package git

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/gatehouse-project/gatehouse/internal/fault"
)

// Service is one of the three programs that git clients ask for.
type Service string

// The services.
const (
	UploadPack    Service = "git-upload-pack"    // clone and fetch
	ReceivePack   Service = "git-receive-pack"   // push
	UploadArchive Service = "git-upload-archive" // archive of a tree
)

// Writes says whether the service changes a repository.
func (s Service) Writes() bool { return s == ReceivePack }

// Command is what a client asks for over SSH.
type Command struct {
	Service Service
	Project string // key as it was sent, any case; "~name" is a person's own
	Slug    string // as it was sent, any case, without ".git"
}

// ErrCommand is the answer to an SSH request that is no git command.
var ErrCommand = fault.New(fault.Invalid, "only git-upload-pack, git-receive-pack and git-upload-archive are served here, as git-upload-pack 'PROJECT/repository.git'")

// maxCommand bounds a command before anything looks inside: a service, two names and their quotes.
const maxCommand = 1024

// ParseCommand reads the command of an SSH exec request (rule S17). Nothing is given to a shell: quotes
// are understood only as git clients write them, around the whole path.
func ParseCommand(line string) (Command, error) {
	if len(line) > maxCommand {
		return Command{}, ErrCommand
	}
	service, path, ok := cutService(line)
	if !ok {
		return Command{}, ErrCommand
	}
	if n := len(path); n >= 2 && path[0] == '\'' && path[n-1] == '\'' {
		path = path[1 : n-1]
	}
	project, slug, ok := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	slug = strings.TrimSuffix(slug, ".git")
	if !ok || !projectKey(project) || !slugName(slug) {
		return Command{}, ErrCommand
	}
	return Command{service, project, slug}, nil
}

// cutService takes the program's name off a command, in both of its spellings.
func cutService(line string) (Service, string, bool) {
	for _, s := range []Service{UploadPack, ReceivePack, UploadArchive} {
		for _, spelling := range []string{string(s), "git " + strings.TrimPrefix(string(s), "git-")} {
			if path, ok := strings.CutPrefix(line, spelling+" "); ok {
				return s, path, true
			}
		}
	}
	return "", "", false
}

// maxName bounds a project key and a slug, in characters.
const maxName = 128

// projectKey says whether a text can be a project key: ASCII, or "~" and a user's name.
func projectKey(key string) bool {
	if name, own := strings.CutPrefix(key, "~"); own {
		return named(name, unicode.IsLetter)
	}
	return named(key, asciiLetter)
}

func slugName(slug string) bool { return named(slug, asciiLetter) }

// named says whether a name consists of letters, digits, dots, underscores and hyphens, begins with neither
// dot nor hyphen, and climbs nowhere. What is no letter cannot be a quote, a slash, a space or a control character.
func named(name string, letter func(rune) bool) bool {
	if name == "" || len(name) > 4*maxName || !utf8.ValidString(name) || utf8.RuneCountInString(name) > maxName ||
		name[0] == '-' || name[0] == '.' || strings.Contains(name, "..") {
		return false
	}
	return !strings.ContainsFunc(name, func(r rune) bool {
		return !letter(r) && (r < '0' || r > '9') && r != '.' && r != '_' && r != '-'
	})
}

func asciiLetter(r rune) bool { return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' }
