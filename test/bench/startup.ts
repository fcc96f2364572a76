// From exec to the first 200, asked for without pause from the first moment; and what lies on the
// disk. postern's own first answer is /health; each is also asked for a request that passes.

import type { Bench, Figures, Part } from './part.ts'
import { requestUpstream } from './nginx.ts'
import { median } from './statistics.ts'
import type { Subject } from './subject.ts'

const STARTS = 9

export const STARTUP: Part = {
  name: 'startup',
  about: 'exec to the first 200, and size',
  subjects: ['postern', 'nginx', 'haproxy', 'portkey'],
  measure,
}

async function measure(subject: Subject, bench: Bench): Promise<Figures> {
  const { credentials, descriptors } = bench
  const upstream = await requestUpstream(bench.folder(), descriptors)
  const first: number[] = []
  const passed: number[] = []
  try {
    for (let start = 0; start < STARTS; start++) {
      const folder = bench.folder()
      const setting = { folder, upstreamPort: upstream.port, credentials, descriptors }
      const gate = await subject.start(setting)
      await gate.end()
      first.push(gate.firstOkMs)
      passed.push(gate.firstPassedMs)
    }
  } finally {
    await upstream.end()
  }
  return {
    firstOkMs: median(first),
    firstPassedMs: median(passed),
    sizeMiB: subject.sizeBytes / 1_048_576,
  }
}
