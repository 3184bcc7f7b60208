import CCrash
import Glibc

/// The last words of a process that a fault ends.
package enum CrashReport {
    /// Makes the process say on stderr where it was when a fault ends it.
    ///
    /// `names` are what the bytes of `last` stand for, in the order of their numbers; the highest
    /// bit of a byte is set in a step that followed. The status of the process stays that of the
    /// signal.
    // What it is given is read at the very end: none of it is ever freed.
    package static func install(
        program: String,
        last: UnsafePointer<UInt8>,
        shards: Int,
        names: [String]
    ) {
        let texts = UnsafeMutablePointer<UnsafePointer<CChar>?>.allocate(capacity: names.count)
        for (index, name) in names.enumerated() {
            texts.advanced(by: index).initialize(to: strdup(name).map { UnsafePointer($0) })
        }
        let notes = UnsafeMutablePointer<crash_notes>.allocate(capacity: 1)
        notes.initialize(
            to: crash_notes(
                program: strdup(program),
                last: last,
                shards: shards,
                names: texts,
                name_count: names.count
            )
        )
        crash_report(notes)
    }
}
