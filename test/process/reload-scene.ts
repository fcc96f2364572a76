// A gate whose files a test writes, and what its log says of them.

import { renameSync, writeFileSync } from 'node:fs'
import { type Running, until } from '../support/binary.ts'
import { PATIENCE_MS } from '../support/patience.ts'

/** As editors do: beside it, and then in its place. */
export function put(file: string, text: string): void {
  writeFileSync(`${file}.new`, text, { mode: 0o600 })
  renameSync(`${file}.new`, file)
}

/** How many lines of the log say this. */
export const said = (gate: Running, text: string): number =>
  gate.lines().filter(({ msg }) => String(msg).includes(text)).length

/** `change` is made, and the log has one more line with `text`. */
export async function told(gate: Running, text: string, change: () => void): Promise<void> {
  const before = said(gate, text)
  change()
  await until(() => said(gate, text) > before)
}

/** Of the last reload. */
export const changedBy = (gate: Running): unknown =>
  gate.lines().findLast(({ msg }) => msg === 'settings reloaded')?.['changed']

/** Asks again until the answer is yes. */
export async function eventually(ask: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + PATIENCE_MS
  while (!(await ask())) {
    if (performance.now() > deadline) throw new Error(`never: ${ask}`)
    await Bun.sleep(10)
  }
}
