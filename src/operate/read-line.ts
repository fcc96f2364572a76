// Reads one line from a terminal or a pipe, up to a number of bytes. Whatever follows the line in the
// same chunk is dropped.

import type { Readable } from 'node:stream'

export type LineRead =
  | { readonly kind: 'line'; readonly text: string }
  /** The input ended or failed while empty. */
  | { readonly kind: 'ended' }
  | { readonly kind: 'too_long' }

export function readLine(input: Readable, maxBytes: number): Promise<LineRead> {
  return new Promise((resolve) => {
    let held = Buffer.alloc(0)
    const finish = (line: LineRead): void => {
      input.off('data', take).off('end', end).off('error', end)
      input.pause()
      resolve(line)
    }
    const take = (piece: Buffer | string): void => {
      held = Buffer.concat([held, Buffer.from(piece)])
      const newline = held.indexOf('\n')
      const length = newline === -1 ? held.byteLength : newline
      if (length > maxBytes) finish({ kind: 'too_long' })
      else if (newline !== -1) finish(line(held.subarray(0, newline)))
    }
    const end = (): void => finish(held.byteLength === 0 ? { kind: 'ended' } : line(held))
    input.on('data', take).on('end', end).on('error', end)
    input.resume()
  })
}

function line(bytes: Buffer): LineRead {
  return { kind: 'line', text: bytes.toString('utf8').trim() }
}
