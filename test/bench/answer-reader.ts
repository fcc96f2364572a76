// Reads answers off a connection, byte by byte: the head, then a body by its length or in chunks
// (RFC 9112 §6, §7.1). It keeps nothing of a body; whoever asked is shown each piece of it.

export interface AnswerEvents {
  readonly onHead: (status: number) => void
  readonly onBody: (piece: Buffer) => void
  /** The answer is whole. */
  readonly onEnd: () => void
}

export interface AnswerReader {
  push(bytes: Buffer): void
}

type Expecting = 'head' | 'length' | 'size' | 'chunk' | 'chunk-end' | 'trailer'

const HEAD_END = Buffer.from('\r\n\r\n')

export function answerReader({ onHead, onBody, onEnd }: AnswerEvents): AnswerReader {
  let expecting: Expecting = 'head'
  /** A line or a head that is not whole yet. */
  let held: Buffer = Buffer.alloc(0)
  let left = 0

  const beginBody = (head: string): void => {
    onHead(Number(head.slice(9, 12)))
    const length = /^content-length: *(\d+)\r?$/im.exec(head)?.[1]
    if (length === undefined && !/^transfer-encoding: *chunked\r?$/im.test(head)) {
      throw new Error('an answer without a length')
    }
    left = Number(length ?? 0)
    expecting = length === undefined ? 'size' : 'length'
    if (expecting === 'length' && left === 0) finish()
  }
  const finish = (): void => {
    expecting = 'head'
    onEnd()
  }
  const takeBody = (bytes: Buffer, from: number): number => {
    const to = Math.min(bytes.byteLength, from + left)
    onBody(from === 0 && to === bytes.byteLength ? bytes : bytes.subarray(from, to))
    left -= to - from
    if (left === 0) {
      if (expecting === 'chunk') expecting = 'chunk-end'
      else finish()
    }
    return to
  }
  const takeLine = (line: string): void => {
    if (expecting === 'chunk-end') {
      if (line !== '') throw new Error('a chunk that is longer than it said')
      expecting = 'size'
    } else if (expecting === 'size') {
      if (!/^[0-9a-f]{1,8}(?:;|$)/i.test(line)) throw new Error('a chunk without a size')
      left = Number.parseInt(line, 16)
      expecting = left === 0 ? 'trailer' : 'chunk'
    } else if (line === '') finish()
  }

  return {
    push(given) {
      const bytes = held.byteLength > 0 ? Buffer.concat([held, given]) : given
      if (held.byteLength > 0) held = Buffer.alloc(0)
      let at = 0
      while (at < bytes.byteLength) {
        if (expecting === 'length' || expecting === 'chunk') {
          at = takeBody(bytes, at)
          continue
        }
        const isHead = expecting === 'head'
        const end = isHead ? bytes.indexOf(HEAD_END, at) : bytes.indexOf(10, at)
        if (end === -1) {
          held = Buffer.from(bytes.subarray(at))
          return
        }
        if (isHead) {
          const head = bytes.toString('latin1', at, end)
          at = end + HEAD_END.byteLength
          beginBody(head)
        } else {
          const line = bytes.toString('latin1', at, end - 1)
          at = end + 1
          takeLine(line)
        }
      }
    },
  }
}
