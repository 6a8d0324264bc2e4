package access

// What is done with devices, credentials, grants, remote sessions and recordings.
const (
	DeviceCreate Action = "device.create"
	DeviceRead   Action = "device.read"
	DeviceUpdate Action = "device.update" // change, switch off and on
	DeviceTrust  Action = "device.trust"  // say which host keys are a device's own

	DeviceHostKey Action = "device.hostkey" // show a host key that nobody has accepted yet: what targets do

	CredentialCreate   Action = "credential.create" // on a device
	CredentialRead     Action = "credential.read"   // what there is of it but the secret
	CredentialUpdate   Action = "credential.update"
	CredentialCheckOut Action = "credential.checkout" // see the secret
	CredentialCheckIn  Action = "credential.checkin"
	CredentialExpire   Action = "credential.expire" // what time does to custody
	CredentialLend     Action = "credential.lend"   // use the secret for a session, unseen by its user

	RemoteOpen    Action = "remote.open"    // take a session to a device with a credential: by a grant alone, see Governing
	RemoteLaunch  Action = "remote.launch"  // make a link by which somebody else opens one
	RemoteFor     Action = "remote.for"     // for this user
	RemoteApprove Action = "remote.approve" // answer requests of people who may open one only with approval
	RemoteRead    Action = "remote.read"    // see sessions
	RemoteEnd     Action = "remote.end"     // end them
	RemoteWatch   Action = "remote.watch"   // look on while one lives

	RecordingRead   Action = "recording.read"   // play, export and verify
	RecordingHold   Action = "recording.hold"   // keep beyond retention
	RecordingDelete Action = "recording.delete" // what retention does

	AuthorizationCreate Action = "authorization.create" // what an application may do by an API of its own
	AuthorizationRead   Action = "authorization.read"
	AuthorizationUpdate Action = "authorization.update"

	SubscriptionCreate Action = "subscription.create" // be told of events of the whole installation
	SubscriptionRead   Action = "subscription.read"
	SubscriptionDelete Action = "subscription.delete"
	SubscriptionTest   Action = "subscription.test" // send something to one
	EventRead          Action = "event.read"        // follow what happens as it happens
)

// The kinds of what lies behind the gate.
const (
	DeviceKind        = "device"
	CredentialKind    = "credential"
	RemoteKind        = "remote_session"
	AuthorizationKind = "authorization"
)

// Authorization is the kind of principal that an application has by one of its authorisations: it holds bindings of its own, and nothing by its application.
const Authorization PrincipalKind = "authorization"

// The roles on what lies behind the gate. People open sessions by the roles with a grant's terms; the others are of programs and administrators.
const (
	DeviceConnect Role = "device.connect" // on a device: open sessions with any of its credentials
	DeviceManage  Role = "device.manage"  // change it and its credentials, answer requests, watch, play and end its sessions

	CredentialConnect Role = "credential.connect" // on a credential: open sessions with it
	CredentialManage  Role = "credential.manage"

	DeviceListed     Role = "device.listed"     // on a device: an authorisation reaches it
	CredentialListed Role = "credential.listed" // on a credential: an authorisation reaches it
	UserListed       Role = "user.listed"       // on a user: an authorisation opens sessions for them
	GroupListed      Role = "group.listed"      // on a group: for its members
)

// Every is all resources of a kind, as something to hold a role on: DeviceKind, CredentialKind and UserKind have it.
func Every(kind string) Resource { return Resource{Kind: kind, ID: "*"} }

// Device is one device.
func Device(id string) Resource {
	return Resource{Kind: DeviceKind, ID: id, Parents: []Resource{Every(DeviceKind)}}
}

// Credential is one credential of a device.
func Credential(device, id string) Resource {
	return Resource{Kind: CredentialKind, ID: id, Parents: []Resource{Every(CredentialKind), {Kind: DeviceKind, ID: device}, Every(DeviceKind)}}
}

// RemoteSession is a session of a user on a device by a credential.
func RemoteSession(id, device, credential string) Resource {
	r := Credential(device, credential)
	return Resource{Kind: RemoteKind, ID: id, Parents: append([]Resource{{Kind: CredentialKind, ID: credential}}, r.Parents...)}
}

// Listed is a user as an authorisation lists people: by themselves, by a group they are in, or all of them.
func Listed(user string, groups []string) Resource {
	r := Resource{Kind: UserKind, ID: user, Parents: []Resource{Every(UserKind)}}
	for _, g := range groups {
		r.Parents = append(r.Parents, Resource{Kind: GroupKind, ID: g})
	}
	return r
}
