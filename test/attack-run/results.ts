// results/attacks.md: the table with what it was taken on, for the README to point to.

import { cpus, release } from 'node:os'
import { binary } from '../support/binary.ts'
import { HOW_TO_GET, type Tool } from './own.ts'
import { countsOf, markdown, type Row } from './table.ts'

export interface Circumstances {
  readonly minutes: number
  /** What others were doing with the machine: the load of the minute before. */
  readonly loadBefore: number
}

export async function writeResults(
  rows: readonly Row[],
  { minutes, loadBefore }: Circumstances,
): Promise<void> {
  const said = (...command: string[]): string =>
    Bun.spawnSync(command).stdout.toString().trim().replaceAll('\n', ', ')
  const tools = (Object.keys(HOW_TO_GET) as Tool[]).map((tool) => {
    const version = said('dpkg-query', '-W', '-f', '${Version}', tool)
    return Bun.which(tool) ? `${tool} ${version}` : `${tool}: not installed`
  })
  const text = `# Attacks, and what they got

\`just attack\` on ${new Date().toISOString().slice(0, 10)}, in ${minutes.toFixed(1)} minutes: ${countsOf(rows)}.

- gate: ${said(await binary(), '--version')}
- machine: ${cpus().length} x ${cpus()[0]?.model.trim()}, Linux ${release().replace(/-.*/, '')}, load ${loadBefore.toFixed(1)} before
- tools: bun ${Bun.version}, ${tools.join(', ')}

Verdicts: **held** as expected; **otherwise**: safe, with another answer than expected, and why;
**skipped** for want of a tool; **not run**; **broken**; **not applicable**: of a feature that is
not there. A case is as good as its worst part.

${markdown(rows)}
`
  const file = new URL('results/attacks.md', import.meta.url).pathname
  await Bun.write(file, text)
  Bun.spawnSync([process.execPath, 'fmt', '--no-script', file])
}
