// 29 through the binary, behind a proxy that is trusted: one IPv6 customer in a thousand addresses,
// and one IPv4 customer in all its mapped spellings.

import { scene } from '../../support/gate.ts'
import { judged, type Own } from '../own.ts'

const BURST = 5

export const ADDRESSES: Own = {
  name: '29: a thousand addresses of one customer',
  async run() {
    const env = {
      TRUSTED_PROXIES: '127.0.0.1',
      PUBLIC_RATE_LIMIT_RPM: '1',
      RATE_LIMIT_BURST: `${BURST}`,
    }
    const at = await scene({ env })
    const passed = async (addresses: readonly string[]): Promise<number> => {
      let count = 0
      for (const address of addresses) {
        const headers = { 'x-forwarded-for': address }
        const response = await fetch(`${at.gate.url}/.well-known/hpke-keys`, { headers })
        await response.bytes()
        if (response.status !== 429) count += 1
      }
      return count
    }
    const inside = Array.from(
      { length: 1000 },
      (_, n) =>
        `2001:db8:1:2:${(n * 977).toString(16).slice(-4)}:${n.toString(16)}::${n.toString(16)}`,
    )
    const v6 = await passed(inside)
    const mapped = await passed([
      ...Array<string>(3).fill('192.0.2.7'),
      ...Array<string>(3).fill('::ffff:192.0.2.7'),
      ...Array<string>(3).fill('0:0:0:0:0:ffff:c000:207'),
    ])
    const next = await passed(['2001:db8:1:3::1', '192.0.2.8'])
    await at.close()
    const seen =
      `of 1,000 addresses of a /64 ${v6} passed (burst ${BURST}), ` +
      `of 9 spellings of one IPv4 ${mapped}, of two neighbours ${next}`
    return judged(seen, 'full', {
      'one bucket for a /64': v6 === BURST,
      'one bucket for every spelling': mapped === BURST,
      'neighbours apart': next === 2,
    })
  },
}

/** 18: preflights need no credential, so they are counted like all that anybody may ask. */
export const PREFLIGHTS: Own = {
  name: '18: preflights of one address',
  async run() {
    const origin = 'https://app.example'
    const env = { CORS_ORIGINS: origin, PUBLIC_RATE_LIMIT_RPM: '1', RATE_LIMIT_BURST: `${BURST}` }
    const at = await scene({ env })
    const headers = { origin, 'access-control-request-method': 'GET' }
    const statuses: number[] = []
    for (let number = 0; number < BURST + 2; number++) {
      const response = await fetch(`${at.gate.url}/v1/models`, { method: 'OPTIONS', headers })
      statuses.push(response.status)
    }
    const reached = at.upstream.connections.opened
    await at.close()
    return judged(`preflights of one address (burst ${BURST}): ${statuses.join()}`, 'full', {
      limited: statuses.join() === '204,204,204,204,204,429,429',
      'none reached the upstream': reached === 0,
    })
  },
}
