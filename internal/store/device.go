package store

import (
	"context"
	"crypto/sha256"
	"net/netip"
	"time"

	"github.com/gatehouse-project/gatehouse/internal/domain/access"
	"github.com/gatehouse-project/gatehouse/internal/domain/audit"
	"github.com/gatehouse-project/gatehouse/internal/domain/device"
	"github.com/gatehouse-project/gatehouse/internal/domain/identity"
	"github.com/gatehouse-project/gatehouse/internal/domain/remote"
	"github.com/gatehouse-project/gatehouse/internal/page"
)

// Devices keeps devices, their domains and their host keys.
type Devices struct{ DB *DB }

var _ device.Store = Devices{}

const (
	targetColumns = `d.id, d.number, d.host, d.ip, d.model, d.type, d.vendor, d.site, d.domains, d.tags, d.connectivities, d.script, d.unrecorded, d.disabled, d.created, d.updated`
	selectTargets = `SELECT ` + targetColumns + ` FROM devices d WHERE `
)

// targetFields are where the columns of a device are read into.
func targetFields(d *device.Device) []any {
	return []any{
		&d.ID, &d.Number, &d.Host, scanAddr(&d.IP), &d.Model, &d.Type, &d.Vendor, &d.Site, ScanJSON(&d.Domains), ScanJSON(&d.Tags), ScanJSON(&d.Connect),
		&d.Script, &d.Unrecorded, &d.Disabled, ScanTime(&d.Created), ScanTime(&d.Updated),
	}
}

func scanTarget(scan Scan) (device.Device, error) {
	var d device.Device
	err := scan(targetFields(&d)...)
	return d, err
}

// scanAddr scans a column of text into an address.
func scanAddr(a *netip.Addr) *addrScanner { return &addrScanner{a} }

type addrScanner struct{ a *netip.Addr }

// Scan implements sql.Scanner.
func (s *addrScanner) Scan(src any) error {
	switch text := src.(type) {
	case string:
		return s.a.UnmarshalText([]byte(text))
	case []byte:
		return s.a.UnmarshalText(text)
	default:
		*s.a = netip.Addr{}
		return nil
	}
}

func takenTarget(err error) error {
	switch {
	case Violates(err, "devices_host_key"):
		return device.ErrTaken
	case Absent(err):
		return device.ErrUnknown
	default:
		return err
	}
}

// registered returns domains as they were registered, or ErrUnknownDomain where one was not.
func registered(ctx context.Context, tx Tx, domains []string) ([]string, error) {
	var out []string
	for _, name := range domains {
		is, err := One(ctx, tx, Value[string], `SELECT name FROM device_domains WHERE name_folded = $1`, identity.Fold(name))
		if Absent(err) {
			return nil, device.ErrUnknownDomain
		}
		if err != nil {
			return nil, err
		}
		out = append(out, is)
	}
	return out, nil
}

// Insert implements device.Store.
func (s Devices) Insert(ctx context.Context, d device.Device, listed []access.Binding, e audit.Event) (device.Device, error) {
	err := s.DB.Write(ctx, func(ctx context.Context, tx Tx) (err error) {
		if d.Domains, err = registered(ctx, tx, d.Domains); err != nil {
			return err
		}
		if d.Number, err = nextNumber(ctx, tx, "device"); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO devices (id, number, host, host_folded, ip, model, type, vendor, site, domains, tags, connectivities, script, unrecorded, disabled, created, updated)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)`,
			d.ID, d.Number, d.Host, identity.Fold(d.Host), d.IP.String(), d.Model, d.Type, d.Vendor, d.Site, JSON(d.Domains), JSON(d.Tags), JSON(d.Connect), d.Script,
			d.Unrecorded, d.Disabled, Micros(d.Created), Micros(d.Updated))
		if err != nil {
			return err
		}
		if err := insertListed(ctx, tx, listed); err != nil {
			return err
		}
		return insertEvents(ctx, tx, e)
	})
	if err != nil {
		return device.Device{}, takenTarget(err)
	}
	return d, nil
}

// insertListed gives what was made by an authorization to it.
func insertListed(ctx context.Context, tx Tx, listed []access.Binding) error {
	for _, b := range listed {
		if _, err := insertBinding(ctx, tx, b); err != nil {
			return err
		}
		if err := tx.Notify(ctx, "binding "+b.Subject.ID); err != nil {
			return err
		}
	}
	return nil
}

// lentRow is a credential with a password, and the domain that it belongs to.
type lentRow struct {
	device.Lent
	domain string
}

func scanLent(scan Scan) (lentRow, error) {
	var l lentRow
	err := scan(&l.Credential, &l.Device, &l.NeverShown, &l.domain)
	return l, err
}

// Lent implements device.Store.
func (s Devices) Lent(ctx context.Context, d device.Device) ([]device.Lent, error) {
	rows, err := readAll(ctx, s.DB, scanLent, `SELECT id, device, never_shown, domain FROM credentials
		WHERE secret IS NOT NULL AND kind = 'password' AND (device = $1 OR domain <> '') ORDER BY number`, d.ID)
	var lent []device.Lent
	for _, row := range rows {
		if row.Device == d.ID || d.In(row.domain) {
			lent = append(lent, row.Lent)
		}
	}
	return lent, err
}

// Change implements device.Store.
func (s Devices) Change(ctx context.Context, id string, decide func(device.Device) (device.Device, error), event func(was, is device.Device) audit.Event) (device.Device, bool, error) {
	var is device.Device
	var changed bool
	err := s.DB.Write(ctx, func(ctx context.Context, tx Tx) error {
		changed = false
		was, err := One(ctx, tx, scanTarget, selectTargets+`d.id = $1`+s.DB.ForUpdate(), id)
		if err != nil {
			return err
		}
		if is, err = decide(was); err != nil {
			return err
		}
		if is.Domains, err = registered(ctx, tx, is.Domains); err != nil {
			return err
		}
		if was.Same(is) {
			is = was
			return nil
		}
		changed = true
		return s.change(ctx, tx, was, is, event(was, is))
	})
	if err != nil {
		return device.Device{}, false, takenTarget(err)
	}
	return is, changed, nil
}

func (s Devices) change(ctx context.Context, tx Tx, was, is device.Device, e audit.Event) error {
	_, err := tx.ExecContext(ctx, `UPDATE devices SET host = $2, host_folded = $3, ip = $4, model = $5, type = $6, vendor = $7, site = $8, domains = $9, tags = $10,
		connectivities = $11, script = $12, unrecorded = $13, disabled = $14, updated = $15 WHERE id = $1`,
		is.ID, is.Host, identity.Fold(is.Host), is.IP.String(), is.Model, is.Type, is.Vendor, is.Site, JSON(is.Domains), JSON(is.Tags),
		JSON(is.Connect), is.Script, is.Unrecorded, is.Disabled, Micros(is.Updated))
	if err != nil {
		return err
	}
	if is.Disabled && !was.Disabled {
		if _, err := tx.ExecContext(ctx, `UPDATE credentials SET disabled = TRUE, updated = $2 WHERE device = $1 AND NOT disabled`, is.ID, Micros(is.Updated)); err != nil {
			return err
		}
		if err := askEnd(ctx, tx, endOfDevice, is.ID, e); err != nil {
			return err
		}
	}
	return insertEvents(ctx, tx, e)
}

// The sessions that end with a device, and with a credential.
const (
	askForEnd       = `UPDATE remote_sessions SET end_asked = $2, ended_by = $3 WHERE state IN ('waiting', 'active') AND end_asked = ''`
	endOfDevice     = askForEnd + ` AND (device = $1 OR target = $1) RETURNING id`
	endOfCredential = askForEnd + ` AND credential = $1 RETURNING id`
)

// askEnd asks for the end of the living sessions of a device or credential, and tells all nodes: one of them carries each.
func askEnd(ctx context.Context, tx Tx, which, id string, e audit.Event) error {
	ended, err := All(ctx, tx, Value[string], which, id, string(remote.Revoked), e.Actor.Name)
	if err != nil {
		return err
	}
	for _, one := range ended {
		if err := tx.Notify(ctx, "remote "+one); err != nil {
			return err
		}
	}
	return nil
}

// ByID implements device.Store.
func (s Devices) ByID(ctx context.Context, id string) (device.Device, error) {
	return s.one(ctx, selectTargets+`d.id = $1`, id)
}

// ByNumber implements device.Store.
func (s Devices) ByNumber(ctx context.Context, number int64) (device.Device, error) {
	return s.one(ctx, selectTargets+`d.number = $1`, number)
}

// ByHost implements device.Store.
func (s Devices) ByHost(ctx context.Context, host string) (device.Device, error) {
	return s.one(ctx, selectTargets+`d.host_folded = $1`, identity.Fold(host))
}

func (s Devices) one(ctx context.Context, query string, arg any) (d device.Device, err error) {
	err = s.DB.Read(ctx, func(ctx context.Context, tx Tx) (err error) {
		d, err = One(ctx, tx, scanTarget, query, arg)
		return err
	})
	return d, takenTarget(err)
}

// ByIP implements device.Store.
func (s Devices) ByIP(ctx context.Context, ip netip.Addr) ([]device.Device, error) {
	return readAll(ctx, s.DB, scanTarget, selectTargets+`d.ip = $1 ORDER BY d.number`, ip.Unmap().String())
}

// List implements device.Store.
func (s Devices) List(ctx context.Context, all bool, ids []string, w page.Window) (page.Page[device.Device], error) {
	l := byNumber[device.Device]{
		db: s.DB, scan: scanTarget, query: selectTargets, count: `SELECT COUNT(*) FROM devices d WHERE `, number: `d.number`, window: w,
		numberOf: func(d device.Device) int64 { return d.Number },
	}
	if all {
		return l.read(ctx)
	}
	return l.of(within[device.Device]{`d.id`, ids, func(d device.Device) string { return d.ID }}).read(ctx)
}

// AddDomain implements device.Store.
func (s Devices) AddDomain(ctx context.Context, name string, at time.Time, e audit.Event) error {
	return s.DB.Write(ctx, func(ctx context.Context, tx Tx) error {
		n, err := Exec(ctx, tx, `INSERT INTO device_domains (name_folded, name, created) VALUES ($1, $2, $3) ON CONFLICT (name_folded) DO NOTHING`, identity.Fold(name), name, Micros(at))
		if err != nil || n == 0 {
			return err
		}
		return insertEvents(ctx, tx, e)
	})
}

// Domains implements device.Store.
func (s Devices) Domains(ctx context.Context) ([]string, error) {
	return readAll(ctx, s.DB, Value[string], `SELECT name FROM device_domains ORDER BY name_folded`)
}

const selectHostKeysOf = `SELECT id, device, port, blob, accepted, seen, decided, decided_by FROM device_host_keys WHERE `

func scanDeviceHostKey(scan Scan) (device.HostKey, error) {
	var k device.HostKey
	err := scan(&k.ID, &k.Device, &k.Port, &k.Blob, &k.Accepted, ScanTime(&k.Seen), ScanTime(&k.Decided), &k.DecidedBy)
	return k, err
}

// Saw implements device.Store.
func (s Devices) Saw(ctx context.Context, k device.HostKey, e audit.Event) error {
	return noDevice(s.DB.Write(ctx, func(ctx context.Context, tx Tx) error {
		digest := sha256.Sum256(k.Blob)
		n, err := Exec(ctx, tx, `INSERT INTO device_host_keys (id, device, port, digest, blob, accepted, seen, decided, decided_by) VALUES ($1, $2, $3, $4, $5, FALSE, $6, NULL, '')
			ON CONFLICT (device, port, digest) DO NOTHING`, k.ID, k.Device, k.Port, digest[:], k.Blob, Micros(k.Seen))
		if err != nil || n == 0 {
			return err
		}
		_, err = tx.ExecContext(ctx, `DELETE FROM device_host_keys WHERE device = $1 AND port = $2 AND NOT accepted AND id NOT IN
			(SELECT id FROM device_host_keys WHERE device = $1 AND port = $2 AND NOT accepted ORDER BY seen DESC, id DESC LIMIT $3)`, k.Device, k.Port, device.MostSeen)
		if err != nil {
			return err
		}
		return insertEvents(ctx, tx, e)
	}))
}

func noDevice(err error) error {
	if ViolatesKind(err, ForeignKey) {
		return device.ErrUnknown
	}
	return err
}

// Accept implements device.Store. One that is accepted already stays as it is, with no event.
func (s Devices) Accept(ctx context.Context, k device.HostKey, e audit.Event) (is device.HostKey, err error) {
	digest := sha256.Sum256(k.Blob)
	err = s.DB.Write(ctx, func(ctx context.Context, tx Tx) error {
		n, err := Exec(ctx, tx, `INSERT INTO device_host_keys (id, device, port, digest, blob, accepted, seen, decided, decided_by) VALUES ($1, $2, $3, $4, $5, TRUE, $6, $7, $8)
			ON CONFLICT (device, port, digest) DO UPDATE SET accepted = TRUE, decided = excluded.decided, decided_by = excluded.decided_by WHERE NOT device_host_keys.accepted`,
			k.ID, k.Device, k.Port, digest[:], k.Blob, Micros(k.Seen), Micros(k.Decided), k.DecidedBy)
		if err != nil {
			return err
		}
		if is, err = One(ctx, tx, scanDeviceHostKey, selectHostKeysOf+`device = $1 AND port = $2 AND digest = $3`, k.Device, k.Port, digest[:]); err != nil || n == 0 {
			return err
		}
		return insertEvents(ctx, tx, e)
	})
	return is, noDevice(err)
}

// Remove implements device.Store.
func (s Devices) Remove(ctx context.Context, of, id string, e audit.Event) error {
	return s.DB.Write(ctx, func(ctx context.Context, tx Tx) error {
		n, err := Exec(ctx, tx, `DELETE FROM device_host_keys WHERE device = $1 AND id = $2`, of, id)
		if err != nil {
			return err
		}
		if n == 0 {
			return device.ErrUnknownHostKey
		}
		return insertEvents(ctx, tx, e)
	})
}

// HostKeys implements device.Store.
func (s Devices) HostKeys(ctx context.Context, of string) ([]device.HostKey, error) {
	return readAll(ctx, s.DB, scanDeviceHostKey, selectHostKeysOf+`device = $1 ORDER BY port, seen, id`, of)
}
