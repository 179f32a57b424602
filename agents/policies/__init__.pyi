from agents.policies.distributions import PolicyStep as PolicyStep
from agents.policies.encoder import GlanceMapEncoder as GlanceMapEncoder
from agents.policies.glance_extractor import GlanceMapExtractor as GlanceMapExtractor
from agents.policies.gru_policy import GruActorCriticPolicy as GruActorCriticPolicy
from agents.policies.policy_files import SavedPolicy as SavedPolicy
from agents.policies.policy_files import load_policy as load_policy
from agents.policies.policy_files import load_trusted_zip as load_trusted_zip
from agents.policies.policy_files import save_policy as save_policy
