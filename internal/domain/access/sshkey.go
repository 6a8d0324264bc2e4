package access

// What is done with SSH keys on file. Keys of people are theirs, so each of them reads, adds and removes their own.
const (
	SSHKeyRead   Action = "sshkey.read"
	SSHKeyAdd    Action = "sshkey.add"
	SSHKeyRemove Action = "sshkey.remove"
	SSHKeyGrant  Action = "sshkey.grant" // see, add, change and remove the access keys of a project or repository

	SSHKeyProve   Action = "sshkey.prove"   // a signature proved that its owner holds the private half
	SSHKeyDisable Action = "sshkey.disable" // nobody proved it in time, or an administrator shuts it out
	SSHKeyExpire  Action = "sshkey.expire"  // what time does
)
