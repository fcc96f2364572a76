// What development mode prints: commands that work when pasted.

export function banner(
  url: URL,
  { token, embedded }: { readonly token: string; readonly embedded: boolean },
  upstream: URL,
): string {
  const at = url.origin
  const answers = embedded
    ? 'an embedded enclave answers: no account, no network'
    : `${upstream.host} answers, with your TINFOIL_API_KEY`
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

`
}
