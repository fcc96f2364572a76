// What the operator's commands are given of the process: where they write, and the hour.

import type { Output } from '../enroll.ts'

export const output: Output = {
  stdout: (text) => void process.stdout.write(text),
  stderr: (text) => void process.stderr.write(text),
}

/** Since the epoch. */
export const nowSeconds = (): number => Date.now() / 1000
