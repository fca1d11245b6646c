//! What the tracker is told, and what it says.

use super::*;

impl Lab {
    /// When the tracker is told next which blocks are here.
    fn next_told(&mut self) -> Duration {
        let start = self.now;
        self.sent();
        loop {
            self.sleep();
            self.client.handle_text(&encode_response(None, &Response::Pong), self.now);
            if self.requests().iter().any(|(_, request)| matches!(request, Request::UpdateBlocks { .. })) {
                return self.now.since(start);
            }
        }
    }

    fn refuse_all(&mut self, code: ErrorCode) {
        self.respond(None, &Response::Error { code, message: String::new(), to: None, about: None });
    }
}

#[test]
fn the_tracker_is_told_of_new_blocks_once_a_second_and_of_the_last_one_at_once() {
    let (content, manifest) = large(256);
    let mut lab = Lab::online();
    let requests = lab.download(&manifest);
    assert!(requests.len() > 1);
    lab.get(&content, &manifest, &requests);
    let requests = lab.blocks_asked(&manifest);
    assert_eq!(lab.next_told(), seconds(1));
    lab.complete(&content, &manifest, requests);
    assert_eq!(lab.next_told(), seconds(0));
}

#[test]
fn what_the_tracker_refuses_of_a_peer_in_the_room_has_it_neither_register_nor_complain() {
    let mut lab = Lab::online();
    lab.outputs.clear();
    [ErrorCode::WrongSecret, ErrorCode::RoomFull].into_iter().for_each(|code| lab.refuse_all(code));
    assert!(lab.outputs.is_empty(), "{:?}", lab.outputs);
    let mut lab = Lab::new();
    lab.client.handle_opened(lab.now);
    lab.drain();
    lab.refuse_all(ErrorCode::RoomFull);
    let [.., Output::Update(Update::Problem { problem })] = &lab.outputs[..] else { panic!("{:?}", lab.outputs) };
    assert_eq!(*problem, Problem::Refused { code: ErrorCode::RoomFull });
}

#[test]
fn an_announcement_that_the_tracker_refuses_fails_its_transfer_with_the_reason() {
    let mut lab = Lab::online();
    lab.client.share(manifest(), lab.now);
    lab.drain();
    let announced = |(seq, request)| if let Request::Announce { .. } = request { seq } else { None };
    let seq = lab.requests().into_iter().find_map(announced);
    let (code, message) = (ErrorCode::TooManyFiles, String::new());
    lab.respond(seq, &Response::Error { code, message, to: None, about: None });
    let problem = Problem::Refused { code };
    assert_eq!(lab.last_report().stage, page::Stage::Failed { problem });
}
