// One kind of work that subjects are put to, and what comes of it: figures by name.

import type { Credentials } from './credentials.ts'
import type { Subject, SubjectName } from './subject.ts'

/** Units are in the names; report.ts knows which of them are shown. */
export type Figures = Readonly<Record<string, number>>

export interface Bench {
  readonly credentials: Credentials
  /** How long a measurement lasts. */
  readonly seconds: number
  /** Descriptors that each process may have. */
  readonly descriptors: number
  /** A new, empty folder. */
  folder(): string
}

export interface Part {
  readonly name: string
  readonly about: string
  /** Who can do this work. */
  readonly subjects: readonly SubjectName[]
  measure(subject: Subject, bench: Bench): Promise<Figures>
}

export interface Sample {
  readonly part: string
  readonly subject: SubjectName
  readonly round: number
  readonly figures: Figures
}
