package saml

import (
	"context"
	"crypto/x509"
	"encoding/base64"

	"github.com/beevik/etree"
)

// MetadataType is the media type of Metadata.
const MetadataType = "application/samlmetadata+xml"

// Metadata describes us to providers: where responses go, and, where there is a key, with what our requests are signed and assertions may be encrypted.
func (f *Federation) Metadata(ctx context.Context) ([]byte, error) {
	e := etree.NewElement("md:EntityDescriptor")
	e.CreateAttr("xmlns:md", nsMetadata)
	e.CreateAttr("entityID", f.EntityID)
	sp := e.CreateElement("md:SPSSODescriptor")
	sp.CreateAttr("WantAssertionsSigned", "true")
	sp.CreateAttr("protocolSupportEnumeration", nsProtocol)
	if f.Key != nil {
		key, err := f.Key(ctx)
		if err != nil {
			return nil, err
		}
		describeKey(sp, key.Certificate, "signing")
		describeKey(sp, key.Certificate, "encryption")
	}
	sp.CreateElement("md:NameIDFormat").SetText(formatEmail)
	acs := sp.CreateElement("md:AssertionConsumerService")
	acs.CreateAttr("Binding", bindingPost)
	acs.CreateAttr("Location", f.ACS)
	acs.CreateAttr("index", "0")
	acs.CreateAttr("isDefault", "true")
	d := etree.NewDocument()
	d.CreateProcInst("xml", `version="1.0" encoding="UTF-8"`)
	d.SetRoot(e)
	d.Indent(2)
	return d.WriteToBytes()
}

func describeKey(sp *etree.Element, certificate *x509.Certificate, use string) {
	d := sp.CreateElement("md:KeyDescriptor")
	d.CreateAttr("use", use)
	info := d.CreateElement("ds:KeyInfo")
	info.CreateAttr("xmlns:ds", nsSignature)
	info.CreateElement("ds:X509Data").CreateElement("ds:X509Certificate").SetText(base64.StdEncoding.EncodeToString(certificate.Raw))
	if use == "encryption" {
		for _, algorithm := range []string{nsEnc11 + "aes256-gcm", nsEnc11 + "aes128-gcm", nsEncrypted + "rsa-oaep-mgf1p"} {
			d.CreateElement("md:EncryptionMethod").CreateAttr("Algorithm", algorithm)
		}
	}
}
