// What the sign-in pages cannot do without a script: ask a security key, and send on a form that a provider wants posted.
'use strict'

const bytes = (text) => Uint8Array.from(atob(text.replace(/-/g, '+').replace(/_/g, '/')), (c) => c.charCodeAt(0))
const text = (buffer) => btoa(String.fromCharCode(...new Uint8Array(buffer))).replace(/\+/g, '-').replace(/\//g, '_').replace(/=+$/, '')
const named = (list) => list.map((one) => ({ ...one, id: bytes(one.id) }))

async function assert(options) {
  const got = await navigator.credentials.get({
    publicKey: { ...options, challenge: bytes(options.challenge), allowCredentials: named(options.allowCredentials) },
  })
  const { clientDataJSON, authenticatorData, signature, userHandle } = got.response
  return {
    id: got.id, type: got.type, getClientExtensionResults: got.getClientExtensionResults(),
    response: {
      clientDataJSON: text(clientDataJSON), authenticatorData: text(authenticatorData), signature: text(signature),
      userHandle: userHandle ? text(userHandle) : undefined,
    },
  }
}

async function create(options) {
  const got = await navigator.credentials.create({
    publicKey: {
      ...options, challenge: bytes(options.challenge), user: { ...options.user, id: bytes(options.user.id) },
      excludeCredentials: named(options.excludeCredentials),
    },
  })
  return {
    id: got.id, type: got.type,
    response: {
      clientDataJSON: text(got.response.clientDataJSON), attestationObject: text(got.response.attestationObject),
      transports: got.response.getTransports?.() ?? [],
    },
  }
}

function explain(error) {
  switch (error.name) {
    case 'NotAllowedError': return 'The security key was not used in time, or the request was cancelled. Try again.'
    case 'InvalidStateError': return 'This security key is enrolled already.'
    case 'SecurityError': return 'Security keys work on this server’s public address alone.'
    default: return 'The browser could not use a security key here.'
  }
}

// A form with data-webauthn asks the key when it is sent, puts the answer into its field "credential" and goes on.
for (const form of document.querySelectorAll('form[data-webauthn]')) {
  const alert = form.querySelector('.alert')
  form.addEventListener('submit', async (event) => {
    if (form.elements.credential.value) return
    event.preventDefault()
    const button = form.querySelector('button')
    button.disabled = true
    alert.hidden = true
    try {
      const ask = form.dataset.webauthn === 'create' ? create : assert
      form.elements.credential.value = JSON.stringify(await ask(JSON.parse(form.dataset.options)))
      form.submit()
    } catch (error) {
      alert.textContent = explain(error)
      alert.hidden = false
      button.disabled = false
    }
  })
}

document.querySelector('form[data-onward]')?.submit()
