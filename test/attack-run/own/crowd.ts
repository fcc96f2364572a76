// 49 in full: as many streams as the attack names, each checked event by event. Every stream takes
// two descriptors of the gate.

import { until } from '../../support/binary.ts'
import { printed } from '../crowd.ts'
import { quietScene } from '../quiet.ts'
import { judged, ms, type Own, peakOf } from '../own.ts'

interface Result {
  readonly results: Readonly<Record<string, number>>
  readonly longestGapMs: number
  /** Where they did not end in time. */
  readonly begun?: number
}

const STREAMS = 9500
const EVENTS = 6
const PERIOD_MS = 2000
const load = `${import.meta.dir}/../../load`

export const CROWD: Own = {
  name: '49: 9,500 streams',
  async run(size) {
    const limit = Number(Bun.spawnSync(['sh', '-c', 'ulimit -n']).stdout.toString())
    const possible = Number.isNaN(limit) ? STREAMS : Math.floor((limit - 200) / 2)
    const streams = Math.min(size === 'full' ? STREAMS : 1000, possible)
    const upstream = Bun.spawn(
      [process.execPath, `${load}/crowd-upstream.ts`, ...[streams, EVENTS, PERIOD_MS].map(String)],
      { stdout: 'pipe', stderr: 'inherit' },
    )
    try {
      let text = ''
      const decoder = new TextDecoder()
      void (async () => {
        for await (const bytes of upstream.stdout) text += decoder.decode(bytes)
      })()
      const port = await until(() => text.includes('\n') && text.trim())
      const at = await quietScene({ TINFOIL_BASE_URL: `http://127.0.0.1:${port}` })
      const before = at.gate.rssBytes()
      const peak = peakOf(() => at.gate.rssBytes(), 100)
      const args = [at.gate.port, await at.token('crowd'), streams, EVENTS].map(String)
      const { results, longestGapMs, begun } = JSON.parse(
        await printed(`${import.meta.dir}/../stream-crowd.ts`, args),
      ) as Result
      const grown = peak.stop() - before
      const told = Object.entries(results).map(([end, count]) => `${count} ${end}`)
      const errors = at.gate.errors()
      await at.close()
      return judged(
        `${streams} streams, ${told.join(', ')}${begun === undefined ? '' : `, ${begun} begun`}; longest gap ${ms(longestGapMs)} ` +
          `where events come each ${PERIOD_MS} ms; ${(grown / streams / 1024).toFixed(1)} KiB for each`,
        size === 'full' && streams < STREAMS ? 'quick' : size,
        {
          'every event of each, in order': results['whole'] === streams,
          'none stalls': longestGapMs < 2 * PERIOD_MS,
          'nothing on stderr': errors === '',
        },
      )
    } finally {
      upstream.kill('SIGKILL')
    }
  },
}
