package awsiam

import (
	"strings"
	"testing"
)

const (
	head = `<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">`
	arn  = "arn:aws:sts::111122223333:assumed-role/deploy/i-0abc"
	who  = `<Arn>` + arn + `</Arn><UserId>AROAEXAMPLE:i-0abc</UserId><Account>111122223333</Account>`
	meta = `<ResponseMetadata><RequestId>1</RequestId></ResponseMetadata>`
	tail = `</GetCallerIdentityResponse>`
	full = head + `<GetCallerIdentityResult>` + who + `</GetCallerIdentityResult>` + meta + tail
)

func result(in string) string {
	return head + `<GetCallerIdentityResult>` + in + `</GetCallerIdentityResult>` + tail
}

func TestReadAnswer_takes(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]string{
		"what STS writes":   full,
		"no metadata":       result(who),
		"another order":     result(`<Account>111122223333</Account><UserId>x</UserId><Arn>` + arn + `</Arn>`),
		"space everywhere":  "\n " + strings.NewReplacer("><", ">\n  <").Replace(full) + "\r\n",
		"empty request id":  head + `<ResponseMetadata><RequestId/></ResponseMetadata><GetCallerIdentityResult>` + who + `</GetCallerIdentityResult>` + tail,
		"namespace by each": strings.ReplaceAll(full, "<Arn>", `<Arn xmlns="https://sts.amazonaws.com/doc/2011-06-15/">`),
	} {
		if got, err := readAnswer([]byte(body)); got != arn || err != nil {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

// rule F9: nothing but the one form counts.
func TestReadAnswer_refuses(t *testing.T) {
	t.Parallel()
	swap := func(old, new string) string { return strings.Replace(full, old, new, 1) }
	for name, body := range map[string]string{
		"nothing":                  "",
		"JSON":                     `{"Arn":"` + arn + `"}`,
		"no namespace":             swap(` xmlns="https://sts.amazonaws.com/doc/2011-06-15/"`, ""),
		"another namespace":        swap("2011-06-15", "2011-06-16"),
		"namespace by a prefix":    strings.NewReplacer("</", "</s:", "<", "<s:", "xmlns=", "xmlns:s=").Replace(full),
		"another root":             strings.ReplaceAll(full, "GetCallerIdentityResponse", "AssumeRoleResponse"),
		"declaration":              `<?xml version="1.0"?>` + full,
		"instruction":              swap("<Arn>", "<?x y?><Arn>"),
		"DTD":                      "<!DOCTYPE GetCallerIdentityResponse>" + full,
		"entities":                 `<!DOCTYPE x [<!ENTITY a "` + arn + `">]>` + swap(arn, "&a;"),
		"reference":                swap("i-0abc", "i-0ab&#99;"),
		"comment in the ARN":       swap("deploy", "dep<!-- -->loy"),
		"section":                  swap(arn, "<![CDATA["+arn+"]]>"),
		"attribute":                swap("<Arn>", `<Arn x="y">`),
		"two results":              head + strings.Repeat(`<GetCallerIdentityResult>`+who+`</GetCallerIdentityResult>`, 2) + tail,
		"two ARNs":                 result(who + `<Arn>` + arn + `</Arn>`),
		"no ARN":                   result(`<UserId>x</UserId><Account>111122223333</Account>`),
		"no user":                  result(`<Arn>` + arn + `</Arn><Account>111122223333</Account>`),
		"something more":           result(who + `<Admin>1</Admin>`),
		"element in the ARN":       swap("i-0abc</Arn>", "i-0abc<x/></Arn>"),
		"elements in the ARN":      swap(arn, "<Arn>"+arn+"</Arn>"),
		"text between":             swap("<UserId>", "x<UserId>"),
		"text before":              "x" + full,
		"text after":               full + "x",
		"a second document":        full + full,
		"trailing element":         full + "<x/>",
		"not closed":               strings.TrimSuffix(full, ">"),
		"closed otherwise":         swap("</Arn>", "</Account>"),
		"unknown beside":           swap("<ResponseMetadata>", "<Other/><ResponseMetadata>"),
		"unknown in the metadata":  swap("<RequestId>1</RequestId>", "<RequestId>1</RequestId><Arn>x</Arn>"),
		"two metadata":             swap(meta, meta+meta),
		"empty ARN":                swap(arn, ""),
		"no ARN at all":            swap(arn, "deploy"),
		"ARN of something else":    swap(arn, "arn:aws:s3:::bucket"),
		"ARN of another account":   swap(arn, "arn:aws:sts::999922223333:assumed-role/deploy/i-0abc"),
		"ARN with a space":         swap("deploy", "de ploy"),
		"ARN with a line":          swap("deploy", "de\nploy"),
		"ARN that is not ASCII":    swap("deploy", "d\u0435ploy"),
		"not UTF-8":                swap("deploy", "d\xffploy"),
		"NUL":                      swap("deploy", "d\x00ploy"),
		"deep":                     head + strings.Repeat("<GetCallerIdentityResult>", 100) + strings.Repeat("</GetCallerIdentityResult>", 100) + tail,
		"upper-case names":         strings.ReplaceAll(full, "Arn>", "ARN>"),
		"ARN as attribute and XML": swap("<GetCallerIdentityResult>", `<GetCallerIdentityResult Arn="x">`),
	} {
		if got, err := readAnswer([]byte(body)); got != "" || err == nil {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

// rule F9: whatever answers, an ARN that comes out was written there whole.
func FuzzReadAnswer(f *testing.F) {
	for _, seed := range []string{full, result(who), "<!DOCTYPE x>" + full, full + full, strings.Replace(full, "deploy", "a&amp;b", 1), `<?xml version="1.0"?>` + full, "{}"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		got, err := readAnswer(body)
		if err != nil {
			if got != "" {
				t.Errorf("%q beside %v", got, err)
			}
			return
		}
		account := arnForm.FindStringSubmatch(got)
		if account == nil || !strings.Contains(string(body), got) || strings.Count(string(body), "<Arn") != 1 || !strings.Contains(string(body), account[1]+"<") && !strings.Contains(string(body), account[1]) {
			t.Errorf("%q came out of %q", got, body)
		}
	})
}

// rule F9: what is read as a signature has one spelling, and reads the same again.
func FuzzParseAuthorization(f *testing.F) {
	const good = "AWS4-HMAC-SHA256 Credential=AKIAEXAMPLE/20261122/eu-west-1/sts/aws4_request, SignedHeaders=host;x-amz-date, Signature="
	for _, seed := range []string{
		good + strings.Repeat("0a", 32), strings.ReplaceAll(good, ", ", ",") + strings.Repeat("0a", 32), good + strings.Repeat("0A", 32), good, "Basic eDp5", "",
		strings.Replace(good, "host;x-amz-date", "x-amz-date;host", 1) + strings.Repeat("0a", 32),
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, header string) {
		a, ok := parseAuthorization(header)
		if !ok {
			return
		}
		again, ok := parseAuthorization(a.String())
		if !ok || again.key() != a.key() || again.String() != a.String() || strings.ContainsAny(a.String(), "\r\n\x00") {
			t.Errorf("%q became %q", header, a.String())
		}
		if strings.ReplaceAll(header, " ", "") != strings.ReplaceAll(a.String(), " ", "") {
			t.Errorf("%q says something else than %q", header, a.String())
		}
	})
}

// rule F9: strangers choose the headers; what is taken from them is on the list, in one case and one line.
func FuzzReadSigned(f *testing.F) {
	f.Add("x-amz-date", "20261122T100000Z", "Accept", "text/xml")
	f.Add("X-AMZ-DATE", "20261122T100000Z", "x-amz-date", "20261122T100001Z")
	f.Add("Host", "evil.test", "X-Evil", "a\r\nb")
	f.Fuzz(func(t *testing.T, name1, value1, name2, value2 string) {
		all, err := fold(map[string]string{name1: value1, name2: value2})
		if err != nil {
			return
		}
		for name, value := range all {
			if !forwarded[name] || strings.ContainsAny(value, "\r\n\x00") {
				t.Errorf("%q: %q", name, value)
			}
		}
		if name1 != name2 && len(all) != 2 {
			t.Errorf("%q and %q are %d headers", name1, name2, len(all))
		}
	})
}
