package import SluiceCore

/// What a client has to write: its frames, and the records of its producers where they lie.
package struct ClientOutput: Sendable {
    /// Records that are sent from their slab.
    package struct Insert: Sendable {
        /// The place in the bytes of `frames` before which they go.
        package let place: Int
        package let run: Run
    }

    /// Fewer bytes are copied, for a vector and a reference cost more.
    private static let insertBytesMin = 1_024

    package var frames = FrameWriter()
    /// In the order of their places.
    package private(set) var inserts: [Insert] = []
    private var insertedBytes = 0

    package init() {}

    package var byteCount: Int { frames.bytes.count + insertedBytes }

    /// Appends the records of `run`, whose head is written.
    package mutating func append(records run: Run) {
        guard run.byteCount >= Self.insertBytesMin else {
            return run.withSpan { frames.append(records: $0.extracting(run.bytes)) }
        }
        inserts.append(Insert(place: frames.bytes.count, run: run))
        insertedBytes += run.byteCount
    }

    /// Empties it; its memory stays for the next frames.
    package mutating func removeAll() {
        frames.removeAll()
        inserts.removeAll(keepingCapacity: true)
        insertedBytes = 0
    }
}
