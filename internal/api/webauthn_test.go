package api_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/api"
	"github.com/gatehouse-project/gatehouse/internal/domain/factor"
	"github.com/gatehouse-project/gatehouse/internal/fault"
	"github.com/gatehouse-project/gatehouse/test/authenticator"
)

// asserted is the assertion of the tables: each member in bytes that base64 and base64url spell differently.
var asserted = factor.Assertion{
	ID: []byte{0xfb, 0xff, 1}, Type: "public-key", ClientData: []byte("{}"), AuthenticatorData: []byte{0xff, 0xef, 0xbe, 0}, Signature: []byte{1, 2}, UserHandle: []byte("u"),
}

const answered = `"response":{"clientDataJSON":"e30","authenticatorData":"_---AA","signature":"AQI","userHandle":"dQ"}`

func TestReadAssertion(t *testing.T) {
	t.Parallel()
	appID := asserted
	appID.AppID = true
	bare, untyped := asserted, asserted
	bare.UserHandle = nil
	untyped.Type = ""
	for name, test := range map[string]struct {
		json string
		want factor.Assertion
	}{
		"browser":                  {`{"id":"-_8B","rawId":"-_8B","type":"public-key",` + answered + `,"getClientExtensionResults":{}}`, asserted},
		"program":                  {`{"id":"-_8B","type":"public-key",` + answered + `,"get_client_extension_results":{"appid":false}}`, asserted},
		"AppID of a browser":       {`{"id":"-_8B","type":"public-key",` + answered + `,"getClientExtensionResults":{"appid":true}}`, appID},
		"AppID of a program":       {`{"id":"-_8B","type":"public-key",` + answered + `,"get_client_extension_results":{"appid":true}}`, appID},
		"raw id alone":             {`{"rawId":"-_8B","type":"public-key",` + answered + `}`, asserted},
		"padding":                  {`{"id":"-_8B","type":"public-key",` + strings.NewReplacer(`"e30"`, `"e30="`, `"AQI"`, `"AQI="`, `"dQ"`, `"dQ=="`, `"_---AA"`, `"_---AA=="`).Replace(answered) + `}`, asserted},
		"standard alphabet":        {`{"id":"+/8B","type":"public-key",` + strings.Replace(answered, "_---AA", "/+++AA==", 1) + `}`, asserted},
		"no user handle":           {`{"id":"-_8B","type":"public-key",` + strings.Replace(answered, `,"userHandle":"dQ"`, `,"userHandle":null`, 1) + `}`, bare},
		"unknown members":          {`{"id":"-_8B","type":"public-key","authenticatorAttachment":"usb","x":[1],` + strings.Replace(answered, `{`, `{"publicKeyAlgorithm":-7,"x":{},`, 1) + `,"getClientExtensionResults":{"credProps":{"rk":true},"appid":null}}`, asserted},
		"no type":                  {`{"id":"-_8B",` + answered + `}`, untyped},
		"nulls where nothing is":   {`{"id":"-_8B","rawId":null,"type":null,` + answered + `,"get_client_extension_results":null}`, untyped},
		"blanks around the object": {" {\"id\":\"-_8B\",\n\"type\":\"public-key\"," + answered + "}\n", asserted},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := api.ReadAssertion([]byte(test.json))
			if err != nil || !reflect.DeepEqual(got, test.want) {
				t.Errorf("%+v, %v\nwant %+v", got, err, test.want)
			}
		})
	}
}

func TestReadAssertion_names_what_is_wrong(t *testing.T) {
	t.Parallel()
	whole := `{"id":"-_8B","type":"public-key",` + answered + `}`
	for name, test := range map[string]struct{ json, text string }{
		"nothing":              {"", "the answer of the security key is not an object"},
		"null":                 {"null", "id is required"},
		"a list":               {"[]", "the answer of the security key is not an object"},
		"two objects":          {"{}{}", "the answer of the security key is not an object"},
		"a deep one":           {strings.Repeat(`{"a":`, 20000), "the answer of the security key is not an object"},
		"no id":                {strings.Replace(whole, `"id":"-_8B",`, "", 1), "id is required"},
		"an empty id":          {strings.Replace(whole, "-_8B", "", 1), "id is required"},
		"id of another case":   {strings.Replace(whole, `"id"`, `"ID"`, 1), "id is required"},
		"id that is no base64": {strings.Replace(whole, "-_8B", "é", 1), "id has the wrong form"},
		"id that is a number":  {strings.Replace(whole, `"-_8B"`, "7", 1), "id has the wrong form"},
		"type":                 {strings.Replace(whole, `"public-key"`, "7", 1), "type has the wrong form"},
		"no response":          {`{"id":"-_8B"}`, "response.clientDataJSON is required"},
		"response":             {`{"id":"-_8B","response":[]}`, "response has the wrong form"},
		"client data":          {strings.Replace(whole, `"clientDataJSON":"e30",`, "", 1), "response.clientDataJSON is required"},
		"authenticator data":   {strings.Replace(whole, `"authenticatorData":"_---AA",`, "", 1), "response.authenticatorData is required"},
		"signature":            {strings.Replace(whole, `"signature":"AQI",`, "", 1), "response.signature is required"},
		"extensions":           {strings.Replace(whole, `"type"`, `"getClientExtensionResults":{"appid":"yes"},"type"`, 1), "getClientExtensionResults has the wrong form"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := api.ReadAssertion([]byte(test.json)); !fault.Is(err, fault.Invalid) || fault.Text(err) != test.text {
				t.Errorf("%v, want %q", err, test.text)
			}
		})
	}
}

func TestReadAttestation(t *testing.T) {
	t.Parallel()
	made := factor.Attestation{ID: []byte{0xfb, 0xff, 1}, Type: "public-key", ClientData: []byte("{}"), Object: []byte{0xff, 0xef}, Transports: []string{"usb"}}
	const whole = `{"id":"-_8B","type":"public-key","response":{"clientDataJSON":"e30","attestationObject":"_-8","transports":["usb"]}}`
	for name, text := range map[string]string{
		"browser":           whole,
		"program":           strings.Replace(whole, "transports", "getTransports", 1),
		"both":              strings.Replace(whole, `"transports":["usb"]`, `"getTransports":["usb"],"transports":["nfc"]`, 1),
		"padding":           strings.NewReplacer("e30", "e30=", "_-8", "/+8=").Replace(whole),
		"raw id alone":      strings.Replace(whole, `"id"`, `"rawId"`, 1),
		"unknown members":   strings.Replace(whole, `"response":{`, `"x":1,"get_client_extension_results":{"y":2},"response":{"publicKey":"AA","z":[],`, 1),
		"transports absent": strings.Replace(whole, `,"transports":["usb"]`, "", 1),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want := made
			if name == "transports absent" {
				want.Transports = nil
			}
			if got, err := api.ReadAttestation([]byte(text)); err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("%+v, %v", got, err)
			}
		})
	}
	for text, told := range map[string]string{
		"x": "the answer of the security key is not an object",
		strings.Replace(whole, `"id":"-_8B",`, "", 1):                "id is required",
		strings.Replace(whole, `"clientDataJSON":"e30",`, "", 1):     "response.clientDataJSON is required",
		strings.Replace(whole, `"attestationObject":"_-8",`, "", 1):  "response.attestationObject is required",
		strings.Replace(whole, `["usb"]`, `"usb"`, 1):                "response has the wrong form",
		strings.Replace(whole, `"public-key"`, `["public-key"]`, 1):  "type has the wrong form",
		strings.Replace(whole, `"_-8"`, `"_-8 !"`, 1):                "response has the wrong form",
		strings.Replace(whole, `{"id":"-_8B"`, `{"rawId":"%%%%"`, 1): "rawId has the wrong form",
	} {
		if _, err := api.ReadAttestation([]byte(text)); !fault.Is(err, fault.Invalid) || fault.Text(err) != told {
			t.Errorf("%s: %v, want %q", text, err, told)
		}
	}
}

func TestRequestOptions(t *testing.T) {
	t.Parallel()
	c := factor.Challenge{
		Challenge: []byte{0xfb, 0xff}, Timeout: 5 * time.Minute, RPID: "gate.example.test", Verify: "preferred",
		Devices: []factor.Device{{Name: "Blue", Credential: []byte{0xff}, Transports: []string{"usb"}}},
	}
	wantJSON(t, api.RequestOptions(c), `{"challenge":"-_8","timeout":300000,"rpId":"gate.example.test",`+
		`"allowCredentials":[{"type":"public-key","id":"_w","transports":["usb"]}],"userVerification":"preferred"}`)
	c.Devices, c.AppID = nil, "https://gate.example.test/u2f"
	wantJSON(t, api.RequestOptions(c), `{"challenge":"-_8","timeout":300000,"rpId":"gate.example.test","allowCredentials":[],"userVerification":"preferred",`+
		`"extensions":{"appid":"https://gate.example.test/u2f"}}`)
}

func TestCreationOptions(t *testing.T) {
	t.Parallel()
	wantJSON(t, api.CreationOptions(factor.Creation{
		Challenge: []byte{0xfb, 0xff}, Timeout: time.Minute, RPID: "localhost", RPName: "Gatehouse", UserID: []byte{1}, UserName: "dana", Display: "Dana", Algorithms: []int64{-7, -8},
	}), `{"rp":{"name":"Gatehouse","id":"localhost"},"user":{"id":"AQ","name":"dana","displayName":"Dana"},"challenge":"-_8",`+
		`"pubKeyCredParams":[{"type":"public-key","alg":-7},{"type":"public-key","alg":-8}],"timeout":60000,"excludeCredentials":[],`+
		`"authenticatorSelection":{"userVerification":"preferred"},"attestation":"none"}`)
}

func wantJSON(t *testing.T, v any, want string) {
	t.Helper()
	if got, err := json.Marshal(v); err != nil || string(got) != want {
		t.Errorf("%s, %v\nwant %s", got, err, want)
	}
}

// Whatever comes, what is read says the same when it is written and read again, and what is refused is the sender's fault.
func FuzzReadAssertion(f *testing.F) {
	key := authenticator.New(authenticator.ES256)
	f.Add(authenticator.AssertionJSON(key.Get(authenticator.Ceremony{Challenge: []byte("c"), Origin: "https://gate.example.test", RPID: "gate.example.test"})))
	f.Add([]byte(`{"id":"-_8B","rawId":"+/8B==","type":"public-key",` + answered + `,"getClientExtensionResults":{"appid":true}}`))
	f.Add([]byte(`{"id":"-_8B","id":7,"response":null}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		a, err := api.ReadAssertion(raw)
		if err != nil {
			refused(t, err)
			return
		}
		again, err := api.ReadAssertion(authenticator.AssertionJSON(a))
		if err != nil || !bytesEqual(a.ID, again.ID) || !bytesEqual(a.Signature, again.Signature) || !bytesEqual(a.UserHandle, again.UserHandle) || a.AppID != again.AppID {
			t.Errorf("%+v, %v\nwant %+v", again, err, a)
		}
	})
}

func FuzzReadAttestation(f *testing.F) {
	key := authenticator.New(authenticator.ES256)
	f.Add(authenticator.AttestationJSON(key.Create(authenticator.Ceremony{Challenge: []byte("c"), Origin: "https://gate.example.test", RPID: "gate.example.test"})))
	f.Add([]byte(`{"id":"-_8B","type":"public-key","response":{"clientDataJSON":"e30","attestationObject":"_-8","transports":["usb"]}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		a, err := api.ReadAttestation(raw)
		if err != nil {
			refused(t, err)
			return
		}
		again, err := api.ReadAttestation(authenticator.AttestationJSON(a))
		if err != nil || !bytesEqual(a.ID, again.ID) || !bytesEqual(a.Object, again.Object) || !bytesEqual(a.ClientData, again.ClientData) {
			t.Errorf("%+v, %v\nwant %+v", again, err, a)
		}
	})
}

func refused(t *testing.T, err error) {
	t.Helper()
	if !fault.Is(err, fault.Invalid) || fault.Text(err) == "" {
		t.Errorf("%v", err)
	}
}

func bytesEqual(a, b []byte) bool { return string(a) == string(b) }
