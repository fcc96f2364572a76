// Writes a command's output to stdout or stderr before the command goes on. A reader that has read
// enough and left (`| head`) ends the writing and nothing else; a full disk is a failure.

import { writeSync } from 'node:fs'
import { isTerminal } from './terminal.ts'

export interface Printer {
  write(text: string): void
  readonly isTTY: boolean
  /** The code of the error, if a text that somebody wanted could not be written. */
  failure(): string | undefined
}

/** For a pipe that another process has made non-blocking. */
const RETRY_MS = 5

export function printer(fd: 1 | 2): Printer {
  let ended = false
  let failure: string | undefined
  const writeAll = (bytes: Uint8Array): void => {
    for (let at = 0; at < bytes.byteLength;) {
      try {
        at += writeSync(fd, bytes, at)
      } catch (error) {
        const { code } = error as NodeJS.ErrnoException
        if (code === 'EAGAIN') Bun.sleepSync(RETRY_MS)
        else if (code !== 'EINTR') throw error
      }
    }
  }
  return {
    write(text) {
      if (ended) return
      try {
        writeAll(Buffer.from(text))
      } catch (error) {
        ended = true
        const { code = 'unknown' } = error as NodeJS.ErrnoException
        if (code !== 'EPIPE') failure = code
      }
    },
    get isTTY() {
      return isTerminal(fd)
    },
    failure: () => failure,
  }
}

export const stdout = printer(1)
export const stderr = printer(2)
