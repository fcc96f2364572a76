// 21 to 24 on the binary: every forgery that the suite knows, and every wrong claim. They are minted
// for one moment, so the gate's clock stands still at it: none is refused for being old.

import { scene } from '../../support/gate.ts'
import { keyServer } from '../../support/keys.ts'
import { AUDIENCE, attacks, ISSUER, mint, NOW, wrongClaims } from '../../support/mint.ts'
import { dial, head } from '../../support/wire.ts'
import { preload } from '../faketime.ts'
import { judged, type Own } from '../own.ts'

/** Line breaks and NULs are no header, a megabyte is no header of ours. */
const REFUSED = new Set(['400', '401', '431'])
/** Spaces around a value are no part of it (RFC 9110 §5.5), and what is missing is no forgery. */
const ONLY_IN_PROCESS = new Set(['a space behind it', 'a space before it', 'nothing'])

export const FORGED_TOKENS: Own = {
  name: '21: every forged token',
  needs: 'faketime',
  async run() {
    const key = mint()
    const server = await keyServer([key.jwk])
    const at = await scene({
      env: {
        JWKS_URL: server.url.href,
        ISSUER,
        AUDIENCES: AUDIENCE,
        ...preload({ FAKETIME: new Date(NOW * 1000).toISOString().slice(0, 19).replace('T', ' ') }),
      },
    })
    const ask = async (token: string): Promise<string> => {
      const wire = await dial(at.gate.port)
      const lines = [
        'GET /v1/models HTTP/1.1',
        'Host: gate.test',
        `Authorization: Bearer ${token}`,
        'Connection: close',
      ]
      wire.write(Buffer.from(head(...lines), 'latin1'))
      const [answer] = await wire.settled()
      wire.destroy()
      return `${answer?.status} ${answer?.body ?? ''}`
    }
    const good = await ask(key.token())
    const outgoing = at.upstream.connections.opened
    const forged = [
      ...attacks(key).filter(([name]) => !ONLY_IN_PROCESS.has(name)),
      ...wrongClaims.map(([name, claims]) => [name, key.token(claims)] as const),
      ['another key', mint(key.kid).token()] as const,
    ]
    const answers = new Map<string, string[]>()
    for (const [name, token] of forged) {
      answers.getOrInsertComputed(await ask(token), () => []).push(name)
    }
    const asked = server.asked
    const reached = at.upstream.connections.opened - outgoing
    await at.close()
    await server.close()

    const kinds = [...answers].toSorted(([, a], [, b]) => b.length - a.length)
    // Bytes that no header may hold, no token at all and one that is too long are other refusals.
    const apart = kinds
      .slice(1)
      .map(([answer, names]) => `${answer.slice(0, 3)}: ${names.join(', ')}`)
    const statuses = new Set(kinds.map(([answer]) => answer.slice(0, 3)))
    return judged(
      `${forged.length} forgeries: ${kinds[0]?.[1].length} times one 401` +
        `${apart.length > 0 ? ` (and ${apart.join('; ')})` : ''}; the good one ${good.slice(0, 3)}`,
      'full',
      {
        'the good one passes': good.startsWith('200'),
        'all refused': [...statuses].every((status) => REFUSED.has(status)),
        'uniform, but for what is no token by its letters or its length': apart.length <= 4,
        'none reached the upstream': reached === 0,
        'one read of the key set': asked <= 2,
      },
    )
  },
}
