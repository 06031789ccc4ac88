from .bank import Bank as Bank
from .instant import instant as instant, packaged_apprentice as packaged_apprentice
from .knownness import is_known as is_known
from .network import Apprentice as Apprentice, ApprenticeConfig as ApprenticeConfig
from .storage import Trained as Trained, load_apprentice as load_apprentice
