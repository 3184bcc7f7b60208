// Groups that a request makes, before anybody joins them.

extension Topic {
    /// Why a request may not make this group; nil if it may.
    ///
    /// - Returns: EXISTS, LIMIT, or BAD_OPTION for rules that do not fit together.
    package func refusal(ofGroup name: Name, _ options: GroupWish) -> CloseCode? {
        guard groupNumbers[name] == nil else { return .exists }
        guard !name.isEmpty else { return .badOption }
        do throws(Refusal) {
            _ = try Self.rules(for: Self.opening(name, options, nil), on: self.options)
            try checkRoomForGroup()
        } catch { return error.code }
        return nil
    }

    private static func opening(
        _ name: Name,
        _ options: GroupWish,
        _ start: Start?
    ) -> ConsumerOpening {
        var opening = ConsumerOpening(group: name, start: start)
        opening.wish = options
        return opening
    }

    /// Makes a group that stays until it is removed, as its first member would find it.
    mutating func createGroup(_ name: Name, _ options: GroupWish, _ start: Start?) {
        guard refusal(ofGroup: name, options) == nil,
            let group = try? groupIndex(Self.opening(name, options, start))
        else { return }
        groupTable[group].isKept = true
        groupTable[group].aloneSince = clock
        setLanes(of: group)
        regroup(group)
        grantsAreDue = true
    }
}
