import SluiceCore

// Topics without links: ephemeral ones end at once, those that only an OPEN made and that hold
// nothing end after a while.

extension Engine {
    /// Topics that are looked at in one tick.
    private static let unusedPerTickMax = 1_000

    /// The topic has no links.
    func noteLeft(_ box: TopicBox) {
        guard !box.isRemoved else { return }
        if box.core.options.isEphemeral {
            if box.hadLink { remove(box) }
            return
        }
        guard box.account != nil, !box.isKept, box.unusedSince == nil,
            configuration.topicLingerMilliseconds > 0, box.core.isUntouched
        else { return }
        box.unusedSince = now
        guard !box.isLingering else { return }
        box.isLingering = true
        lingering.append((box, now))
    }

    /// Ends topics that have been unused for long enough.
    func endUnused() {
        var looks = 0
        while looks < Self.unusedPerTickMax, let (box, since) = lingering.first,
            now.milliseconds(since: since) >= configuration.topicLingerMilliseconds
        {
            looks += 1
            lingering.removeFirst()
            guard !box.isRemoved, let unusedSince = box.unusedSince else {
                box.isLingering = false
                continue
            }
            if unusedSince > since {
                // It was used meanwhile: its time began anew.
                lingering.append((box, unusedSince))
            } else if box.core.isUntouched, !box.isKept {
                remove(box)
            } else {
                box.isLingering = false
                box.unusedSince = nil
            }
        }
    }
}
