// Where a sign-in ends whose redirect does not come back to the gate: a page elsewhere that shows
// `code#state`, to be copied.

export interface CodePage {
  readonly url: string
  stop(): Promise<void>
}

export async function startCodePage(): Promise<CodePage> {
  const server = Bun.serve({
    hostname: '127.0.0.1',
    port: 0,
    fetch(request) {
      const { searchParams } = new URL(request.url)
      const text = Bun.escapeHTML(`${searchParams.get('code')}#${searchParams.get('state')}`)
      return new Response(`<!doctype html><title>code</title><code id="code">${text}</code>`, {
        headers: { 'content-type': 'text/html; charset=utf-8' },
      })
    },
  })
  return {
    url: `http://127.0.0.1:${server.port}/oauth/code`,
    stop: () => server.stop(true),
  }
}
