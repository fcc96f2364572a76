// The files from which settings came, as they stand: a text that is another where one was written,
// replaced, or made to point elsewhere, as Kubernetes does with all files of a volume at once.

import { statSync } from 'node:fs'

export type Stamps = ReadonlyMap<string, string>

export const ABSENT = 'none'

export const stampsOf = (files: readonly string[]): Stamps =>
  new Map(files.map((path) => [path, stampOf(path)]))

/** Of the path's file, whatever the path leads through. */
function stampOf(path: string): string {
  try {
    const { dev, ino, mtimeMs, ctimeMs, size } = statSync(path)
    return [dev, ino, mtimeMs, ctimeMs, size].join(':')
  } catch {
    return ABSENT
  }
}

/** Whether `later` says the same of each file that `earlier` knows. */
export const isUnchanged = (earlier: Stamps, later: Stamps): boolean =>
  [...earlier].every(([path, stamp]) => later.get(path) === stamp)
