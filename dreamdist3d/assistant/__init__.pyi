from .answer import Answer as Answer
from .assistant import Assistant as Assistant
from .edit import Edit as Edit
from .intentions import Change as Change, Plan as Plan, Seen as Seen
from .proposing import Proposal as Proposal
from .storage import load_assistant as load_assistant
