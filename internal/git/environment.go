package git

import (
	"fmt"
	"strconv"
)

// environment is all that a git process gets to know (rule S17). Settings stand here and not in the
// repositories: they win over whatever a repository says, and a new release changes all at once.
func (r *Repositories) environment(directory, protocol string) []string {
	env := []string{
		"PATH=" + r.search,
		"HOME=/nonexistent",
		"LC_ALL=C",
		"GIT_CONFIG_NOSYSTEM=1",
		"GIT_CONFIG_GLOBAL=/dev/null",
		"GIT_ATTR_NOSYSTEM=1",
		"GIT_TERMINAL_PROMPT=0",
		"GIT_NO_REPLACE_OBJECTS=1", // anybody who may push could make an object look like another
	}
	if protocol = Protocol(protocol); protocol != "" {
		env = append(env, "GIT_PROTOCOL="+protocol)
	}
	settings := r.settings(directory)
	env = append(env, "GIT_CONFIG_COUNT="+strconv.Itoa(len(settings)))
	for i, s := range settings {
		env = append(env, fmt.Sprintf("GIT_CONFIG_KEY_%d=%s", i, s[0]), fmt.Sprintf("GIT_CONFIG_VALUE_%d=%s", i, s[1]))
	}
	return env
}

func (r *Repositories) settings(directory string) [][2]string {
	return [][2]string{
		{"safe.directory", directory},
		{"core.hooksPath", "/dev/null"}, // where nobody can lay a hook
		{"core.fsmonitor", "false"},
		{"core.attributesFile", "/dev/null"},
		{"protocol.allow", "never"}, // rule G2: no git below this one resolves a URL

		{"core.fsync", "committed"}, // what a client was told is pushed survives a power cut, loose objects too
		{"core.fsyncMethod", "batch"},
		{"pack.windowMemory", "128m"},
		{"gc.autoDetach", "false"}, // nothing outlives its exchange

		{"transfer.fsckObjects", "true"},
		{"receive.fsckObjects", "true"},
		{"receive.maxInputSize", strconv.FormatInt(r.limits.Push, 10)},
		{"receive.unpackLimit", "1"}, // a push stays the pack that it came as: one sync, and clones need not squeeze it anew
		{"receive.autogc", "false"},  // Maintain does that, and no client waits for it
		{"receive.updateServerInfo", "false"},
		{"receive.denyCurrentBranch", "refuse"},
		{"receive.denyDeleteCurrent", "refuse"},
		{"receive.advertisePushOptions", "false"},

		{"uploadpack.allowFilter", "true"},
		{"uploadpackfilter.sparse:oid.allow", "false"}, // a pattern file of the client's choice, matched against every path
		{"uploadpack.allowAnySHA1InWant", "false"},
		{"uploadpack.allowTipSHA1InWant", "false"},
		{"uploadpack.allowReachableSHA1InWant", "false"},
		{"uploadarchive.allowUnreachable", "false"},
	}
}
