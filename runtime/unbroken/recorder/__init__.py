"""A session's flight recorder, and the replay of what it kept.

`Recording` keeps what enters the pure objects that control a session, with its time and with what came out. `replay` does it
again: the same inputs give the same decisions, so what a session did in the night can be looked at in the morning, and asked
of another policy. No payload is in it: no audio, no text, no handle, no key.
"""

from unbroken.recorder.folder import Folder, file_name
from unbroken.recorder.recording import RecordedMachine, Recording
from unbroken.recorder.replaying import Replayed, Step, header_of, replay

__all__ = ["Folder", "RecordedMachine", "Recording", "Replayed", "Step", "file_name", "header_of", "replay"]
