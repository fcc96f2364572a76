// The port for people who were recorded under another name before IDENTITY_HASH_KEY was replaced. Only
// the gate can tell, and only for people whom it sees while the former key is in IDENTITY_HASH_KEY_OLD.

export interface FormerNames {
  /**
   * Notes that what is recorded under `former` is this person's. It touches no disk and never throws;
   * it is written within seconds, and a note that is lost comes again with the person's next token.
   */
  note(identity: string, former: readonly string[]): void
  /** Writes what waits. */
  stop(): Promise<void>
}
