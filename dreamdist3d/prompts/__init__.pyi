from .composition import PromptComposition as PromptComposition
from .distribution import PromptDistribution as PromptDistribution
from .draw import PromptDraw as PromptDraw
from .encoder import PromptFeatures as PromptFeatures, SoftPromptEncoder as SoftPromptEncoder
from .fixed import FixedMoments as FixedMoments
from .formats.opening import load_distribution as load_distribution, open_distributions as open_distributions
from .learning.execution import Execution as Execution
from .learning.images import ReferenceImages as ReferenceImages, load_references as load_references
from .learning.learn import config_from as config_from, learn as learn
from .learning.settings import LearnConfig as LearnConfig, preset_for as preset_for
from .moments import Moments as Moments
from .source import PromptSource as PromptSource
