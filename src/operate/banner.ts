// What development mode prints: commands that work when pasted.

import type { Development } from '../gate/sources.ts'

export function banner(url: URL, { token, embedded }: Development): string {
  const at = url.origin
  const names = embedded.join(' and ')
  const answers =
    embedded.length === 2
      ? 'embedded upstreams answer: no account, no network'
      : `with your keys the real services answer${names && `; ${names} is embedded`}`
  return `
postern in DEVELOPMENT MODE, loopback only: not for production
(a local issuer with a throw-away key; ${answers})

A test token, good for 24 hours:

export TOKEN=${token}

Models, a chat completion, a streamed one:

curl ${at}/v1/models -H "Authorization: Bearer $TOKEN"

curl ${at}/v1/chat/completions -H "Authorization: Bearer $TOKEN" \\
  -H 'Content-Type: application/json' \\
  -d '{"model":"gpt-oss-120b","messages":[{"role":"user","content":"Hello"}]}'

curl -N ${at}/v1/chat/completions -H "Authorization: Bearer $TOKEN" \\
  -H 'Content-Type: application/json' \\
  -d '{"model":"gpt-oss-120b","stream":true,"messages":[{"role":"user","content":"Hello"}]}'

The same for Anthropic, from a device that enrols itself:

DEVICE=$(curl -s ${at}/bootstrap -H 'Content-Type: application/json' \\
  -d '{"device_id":"my-laptop"}' | sed 's/.*"wrapper_token":"\\([^"]*\\)".*/\\1/')

curl ${at}/v1/messages -H "x-api-key: $DEVICE" -H 'anthropic-version: 2023-06-01' \\
  -H 'Content-Type: application/json' \\
  -d '{"model":"claude-sonnet-5-5","max_tokens":100,"messages":[{"role":"user","content":"Hello"}]}'

`
}
